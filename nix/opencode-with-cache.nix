/** `bin/opencode`: puts the cache into its place below ~/.cache-nix, then becomes the real OpenCode. */
{
  lib,
  linkFarm,
  stdenvNoCC,
  coreutils,
  dash,
  nodejs-slim,
  ripgrep,
  opencode-cache,
  opencode-cache-builder,
  # The OpenCode that is started.
  opencode,
  # Whether OpenCode is told not to look for updates and newer catalogues. The user's environment wins.
  offline ? true,
  # Packages whose programs OpenCode shall find, after the user's own.
  extraPackages ? [ ],
}:
let
  # npm's language servers and formatters are programs for node, and need nothing else of that package.
  hasTools = lib.any (request: request.kind == "tool") (lib.importJSON opencode-cache.lock).requests;
  onlyNode = linkFarm "only-node" [
    {
      name = "bin/node";
      path = lib.getExe nodejs-slim;
    }
  ];
  found = [ ripgrep ] ++ extraPackages ++ lib.optional hasTools onlyNode;
in
stdenvNoCC.mkDerivation (finalAttrs: {
  pname = "opencode-with-cache";
  inherit (opencode) version;

  strictDeps = true;
  __structuredAttrs = true;
  nativeBuildInputs = [ opencode-cache-builder ];
  dontUnpack = true;
  dontFixup = true;

  # dash starts in a fraction of bash's time. Of the cache itself nothing comes into $out, so that packages like
  # this one and others can share a profile.
  installPhase = ''
    runHook preInstall
    opencode-cache wrap --cache ${opencode-cache} --opencode ${lib.getExe opencode} --out $out \
      --shell ${lib.getExe dash} --tools ${coreutils}/bin \
      ${lib.concatMapStringsSep " " (package: "--extra-path ${package}/bin") found} \
      ${if offline then "--offline" else "--online"}
    for completions in bash-completion/completions zsh/site-functions fish/vendor_completions.d; do
      if [ -e ${opencode}/share/$completions ]; then
        mkdir -p $out/share/$completions
        ln -s ${opencode}/share/$completions/* $out/share/$completions/
      fi
    done
    runHook postInstall
  '';

  doInstallCheck = stdenvNoCC.buildPlatform.canExecute stdenvNoCC.hostPlatform;
  installCheckPhase = ''
    runHook preInstallCheck
    export HOME=$NIX_BUILD_TOP/home TMPDIR=$NIX_BUILD_TOP/tmp
    mkdir -p $HOME $TMPDIR
    [[ $($out/bin/opencode --version) == *${opencode.version} ]]
    [ "$(find $HOME/.cache-nix/opencode/.nix -type l -exec readlink {} +)" = ${opencode-cache} ]
    runHook postInstallCheck
  '';

  __darwinAllowLocalNetworking = true;

  passthru = {
    cache = opencode-cache;
    inherit opencode;
    tests = opencode-cache.tests;
  }
  # What nixpkgs' OpenCode has, as far as it is about OpenCode and not about its package.
  // lib.optionalAttrs (opencode ? jsonschema) { inherit (opencode) jsonschema; };

  meta = {
    description = "OpenCode ${finalAttrs.version} with its cache: starts and works without a network";
    homepage = "https://opencode.ai";
    changelog = "https://github.com/anomalyco/opencode/releases/tag/v${finalAttrs.version}";
    license = lib.toList (opencode.meta.license or lib.licenses.mit);
    mainProgram = "opencode";
    inherit (opencode-cache.meta) maintainers platforms sourceProvenance;
  };
})
