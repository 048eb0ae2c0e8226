# nixpkgs' stdenv as far as this project uses it: the phases, their hooks and switches, and PATH of the inputs.
set -euo pipefail
# With __structuredAttrs the attributes are no variables of the environment, but a file of bash.
if [ -e "${NIX_ATTRS_SH_FILE:-}" ]; then
  source "$NIX_ATTRS_SH_FILE"
  for name in "${!outputs[@]}"; do export "$name=${outputs[$name]}"; done
  for name in "${!env[@]}"; do export "$name=${env[$name]}"; done
fi
export PATH=$debian/usr/bin SHELL=$debian/usr/bin/bash HOME=/homeless-shelter TZ=UTC LC_ALL=C SOURCE_DATE_EPOCH=1
umask 022
for input in ${nativeBuildInputs[*]:-} ${buildInputs[*]:-}; do PATH=$input/bin:$PATH; done

runHook() {
  if [ "$(type -t "$1")" = function ]; then "$1"; else eval "${!1:-}"; fi
}

unpackPhase() {
  if [ -d "$src" ]; then
    cp -r "$src" "$(stripHash "$src")"
    : "${sourceRoot:=$(stripHash "$src")}"
  else
    tar -xf "$src"
  fi
  chmod -R u+w "$sourceRoot"
  cd "$sourceRoot"
}

stripHash() {
  local name
  name=$(basename "$1")
  printf '%s\n' "${name:33}"
}

fixupPhase() {
  local file line interpreter
  while IFS= read -r -d '' file; do
    IFS= read -r line <"$file" || continue
    case $line in
    "#!/usr/bin/env "*) interpreter=$(command -v "${line#\#!/usr/bin/env }") && sed -i "1s|.*|#!$interpreter|" "$file" ;;
    esac
  done < <(find "$out" -type f -perm -100 -print0 2>/dev/null | xargs -0r grep -lZI '^#!')
}

for phase in patchPhase configurePhase buildPhase checkPhase installPhase installCheckPhase; do
  eval "$phase() { :; }"
done

cd "$NIX_BUILD_TOP"
if [ -n "${buildCommand:-}" ]; then
  eval "$buildCommand"
  exit
fi

runPhase() {
  echo "Running phase: $1"
  if [ -n "${!1:-}" ]; then eval "${!1}"; else "$1"; fi
}

[ -n "${dontUnpack:-}" ] || runPhase unpackPhase
[ -n "${dontPatch:-}" ] || runPhase patchPhase
[ -n "${dontConfigure:-}" ] || runPhase configurePhase
[ -n "${dontBuild:-}" ] || runPhase buildPhase
[ -z "${doCheck:-}" ] || runPhase checkPhase
[ -n "${dontInstall:-}" ] || runPhase installPhase
[ -n "${dontFixup:-}" ] || runPhase fixupPhase
[ -z "${doInstallCheck:-}" ] || runPhase installCheckPhase
