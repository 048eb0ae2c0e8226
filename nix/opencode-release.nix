/**
  OpenCode's own release binary as a package.

  The program is Bun with the JavaScript appended: strip makes plain bun of it, and an rpath makes it crash. Only the
  ELF interpreter is changed, and the install check runs the result: --version, and a listing of models.
*/
{
  lib,
  stdenvNoCC,
  stdenv,
  patchelf,
  opencodeLoader,
  src,
  version,
}:
let
  inherit (stdenvNoCC.hostPlatform) isLinux;
  loader = "${opencodeLoader}/lib/${baseNameOf stdenv.cc.bintools.dynamicLinker}";
in
stdenvNoCC.mkDerivation (finalAttrs: {
  pname = "opencode-release";
  inherit version src;

  strictDeps = true;
  __structuredAttrs = true;

  nativeBuildInputs = lib.optional isLinux patchelf;
  dontUnpack = true;
  dontFixup = true;

  installPhase = ''
    runHook preInstall
    install -Dm755 $src/opencode $out/bin/opencode
    ${lib.optionalString isLinux "patchelf --set-interpreter ${loader} $out/bin/opencode"}
    runHook postInstall
  '';

  doInstallCheck = stdenvNoCC.buildPlatform.canExecute stdenvNoCC.hostPlatform;
  installCheckPhase = ''
    runHook preInstallCheck
    # Bun unpacks native parts to $TMPDIR/opencode.
    export HOME=$NIX_BUILD_TOP/home TMPDIR=$NIX_BUILD_TOP/tmp
    mkdir -p $HOME $TMPDIR
    found=$($out/bin/opencode --version)
    if [ "$found" != ${finalAttrs.version} ]; then
      echo "the release binary says '$found', nix/releases.json says ${finalAttrs.version}" >&2
      exit 1
    fi
    OPENCODE_DISABLE_AUTOUPDATE=1 OPENCODE_DISABLE_MODELS_FETCH=1 $out/bin/opencode models >models
    grep -q / models
  ''
  + lib.optionalString isLinux ''
    # What the file watcher inside is linked against.
    BUN_BE_BUN=1 $out/bin/opencode -e '
      require("bun:ffi").dlopen("libstdc++.so.6", { __cxa_rethrow: { args: [], returns: "void" } })'
  ''
  + ''
    runHook postInstallCheck
  '';

  # Loopback only: OpenCode's own server.
  __darwinAllowLocalNetworking = true;

  meta = {
    description = "OpenCode, the AI coding agent for the terminal, as its authors released it";
    homepage = "https://opencode.ai";
    changelog = "https://github.com/anomalyco/opencode/releases/tag/v${finalAttrs.version}";
    maintainers = [ ];
    license = lib.licenses.mit;
    mainProgram = "opencode";
    platforms = [
      "x86_64-linux"
      "aarch64-linux"
      "aarch64-darwin"
    ];
    sourceProvenance = [ lib.sourceTypes.binaryNativeCode ];
  };
})
