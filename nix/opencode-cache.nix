/**
  The content of OpenCode's cache directory, and manifest.json.

  Each tarball of the lock is one fixed-output derivation. The builder has no network: it unpacks, runs the real
  OpenCode beside a loopback registry that has nothing, and fails with the name of whatever that is asked for.
*/
{
  lib,
  stdenvNoCC,
  linkFarm,
  nodejs,
  nodejs-slim,
  npmTarball,
  opencode-cache-builder,
  opencodeLoader,
  patchelf,
  stdenv,
  # The OpenCode that the cache is for.
  opencode,
  # A lock file made by `opencode-cache lock`; null: the shipped one for that OpenCode.
  lock ? null,
  # Sources of models.dev, or an api.json: used unless the catalogue compiled into OpenCode is newer. null: that one.
  models ? null,
  # Whether `tui/tui-<version>` is there, a link to the OpenCode that is started.
  withTui ? true,
  # OpenCode's arguments, one string for each start, that must work without asking the registry. [ ]: no warm-up;
  # null: what the lock says, or else `models`.
  warmup ? null,
  # Where tarballs come from: { default = URL; "@scope" = URL; }. A URL may be a list, tried in order.
  registries ? { },
  # Whether npm itself downloads them, with its own configuration: for registries with a login.
  withNpm ? false,
}:
let
  inherit (stdenvNoCC.hostPlatform) system;
  version = opencode.version or (throw "opencode-cache: the package given as `opencode` has no version");
  shipped = import ./lock-for.nix { inherit lib; } version;
  lockFile =
    if lock != null then
      lock
    else if shipped.path != null then
      shipped.path
    else
      throw "opencode-cache: ${shipped.problem}";
  locked = lib.importJSON lockFile;

  inherit (lib.importJSON ./rules.json) experimental;
  isExperiment = locked.opencode.layout == experimental.layout;

  words = (lib.importJSON ./rules.json).systems.${system};
  fits = import ./platform.nix { inherit lib; } words;

  tarballs = map (package: {
    name = "${lib.replaceStrings [ "/" ] [ "+" ] package.name}@${package.version}.tgz";
    path = npmTarball { inherit package registries withNpm; };
    inherit package;
  }) (lib.filter fits (lib.attrValues locked.packages));

  arguments = [
    "--lock"
    "${lockFile}"
    "--tarballs"
    "${linkFarm "opencode-cache-tarballs" (map (tarball: { inherit (tarball) name path; }) tarballs)}"
    "--opencode"
    (lib.getExe opencode)
    "--system"
    system
  ]
  # Programs in npm packages ask for /lib64/ld-linux-x86-64.so.2, which NixOS does not have.
  ++ lib.optionals stdenvNoCC.hostPlatform.isLinux [
    "--interpreter"
    "${opencodeLoader}/lib/${baseNameOf stdenv.cc.bintools.dynamicLinker}"
  ]
  # Only where there are programs for node, so that the closure of other caches has none.
  ++ lib.optionals (lib.any (request: request.kind == "tool") locked.requests) [
    "--node"
    (lib.getExe nodejs-slim)
  ]
  ++ lib.optionals (models != null) [
    "--models"
    "${models}"
  ]
  ++ lib.optionals (models ? rev) [
    "--models-revision"
    models.rev
  ]
  ++ lib.optionals withTui [
    "--tui"
    (lib.getExe opencode)
  ]
  ++ (
    if warmup == null then
      [ ]
    else if warmup == [ ] then
      [ "--no-warmup" ]
    else
      lib.concatMap (command: [
        "--warmup"
        command
      ]) warmup
  );
in
lib.warnIf isExperiment
  "opencode-cache: OpenCode ${version} is an experiment here: ${experimental.known}"
  stdenvNoCC.mkDerivation
  (finalAttrs: {
  pname = "opencode-cache";
  inherit version;

  strictDeps = true;
  __structuredAttrs = true;

  nativeBuildInputs = [
    opencode-cache-builder
  ]
  ++ lib.optional stdenvNoCC.hostPlatform.isLinux patchelf;
  dontUnpack = true;
  dontInstall = true;
  # What the lock names stays as it is, byte for byte.
  dontFixup = true;

  buildPhase = ''
    runHook preBuild
    # Nix gives builds a terminal, and what is drawn there stays in the log.
    export TERM=dumb
    opencode-cache build ${lib.escapeShellArgs arguments} --out "$out"
    runHook postBuild
  '';

  # The warm-up's registry is on loopback.
  __darwinAllowLocalNetworking = true;

  passthru = {
    inherit
      arguments
      opencode
      tarballs
      withTui
      ;
    lock = lockFile;
    # checkSettings :: opencode.json -> the same file, whose build fails where it names what this cache lacks: by the
    # function that `plan --check` and `doctor` have. What `{file:…}` refers to is on the user's machine.
    checkSettings =
      settings:
      stdenvNoCC.mkDerivation {
        name = "opencode.json";
        nativeBuildInputs = [ opencode-cache-builder ];
        dontUnpack = true;
        dontInstall = true;
        dontFixup = true;
        buildPhase = ''
          export TERM=dumb
          sed 's,{file:,./,g' ${settings} >opencode.json
          opencode-cache plan --check --certain --config opencode.json --lock ${lockFile}
          cp ${settings} $out
        '';
      };
    tests = import ./cache-tests.nix {
      inherit
        lib
        stdenvNoCC
        nodejs
        opencode-cache-builder
        patchelf
        ;
      cache = finalAttrs.finalPackage;
    };
  };

  meta = {
    description = "Provider SDKs and plugins for OpenCode ${version}, pinned, for machines without a network";
    homepage = "https://opencode.ai";
    changelog = "https://github.com/anomalyco/opencode/releases/tag/v${version}";
    license = import ./licenses.nix { inherit lib; } (map (tarball: tarball.package) tarballs);
    # What npm has is JavaScript, and programs and libraries that others have built.
    sourceProvenance = [
      lib.sourceTypes.binaryBytecode
      lib.sourceTypes.binaryNativeCode
    ];
    maintainers = [ ];
    platforms = [
      "x86_64-linux"
      "aarch64-linux"
      "aarch64-darwin"
    ];
  };
}
# Whoever gives such a lock has made it with --experimental.
// lib.optionalAttrs isExperiment { env.OPENCODE_CACHE_EXPERIMENTAL = "1"; })
