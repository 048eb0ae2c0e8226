# Tests of one opencode-cache: that it is reproducible, and that the real OpenCode works with nothing but it.
{
  lib,
  stdenvNoCC,
  nodejs,
  opencode-cache-builder,
  patchelf,
  cache,
}:
let
  test =
    name: script:
    stdenvNoCC.mkDerivation {
      name = "opencode-cache-test-${name}";
      nativeBuildInputs = [
        nodejs
        opencode-cache-builder
      ]
      ++ lib.optional stdenvNoCC.hostPlatform.isLinux patchelf;
      dontUnpack = true;
      dontInstall = true;
      dontFixup = true;
      # Nix gives builds a terminal, and what is drawn there stays in the log.
      buildPhase = "export TERM=dumb\n${script}";
      __darwinAllowLocalNetworking = true;
    };
in
{
  # On another path, without the warm-up: the same bytes, links and modes.
  reproducible = test "reproducible" ''
    opencode-cache build ${lib.escapeShellArgs cache.arguments} --no-warmup --out other
    diff -r --no-dereference other ${cache}
    [ "$(cd other && find . -perm -100 | sort)" = "$(cd ${cache} && find . -perm -100 | sort)" ]
    touch $out
  '';

  # Models, every SDK and plugin, a prompt and a tool call through a model server on loopback; no host is asked for.
  offline = test "offline" ''
    opencode-cache verify --cache ${cache} --opencode ${lib.getExe cache.opencode} --json | tee $out
  '';
}
