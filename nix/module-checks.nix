/**
  Assertions of the modules: what the options of `programs.opencode-cache` name is in the lock. Each failure is one
  sentence with the option, the value and the command that fixes it.

  # Type

  ```
  moduleChecks :: { lib, cfg, settings ? { } } -> [ { assertion :: bool, message :: string } ]
  ```
*/
{
  lib,
  # config.programs.opencode-cache
  cfg,
  # More configurations whose `plugin` has to be in the lock: name of the option -> value.
  settings ? { },
}:
let
  here = "programs.opencode-cache";
  repository = import ./repository.nix;
  ready = cfg.package ? cache;
  version = cfg.package.version or null;
  shipped = import ./lock-for.nix { inherit lib; } version;

  # What is wrong with the lock that was given, and whether there is one at all.
  problem =
    if ready || cfg.lock == null then
      null
    else
      import ./lock-problem.nix { inherit lib; } {
        inherit (cfg) lock;
        inherit version;
        command = command [ ];
      };
  lockFile =
    if ready then
      cfg.package.cache.lock
    else if cfg.lock != null then
      cfg.lock
    else if version == null then
      null
    else
      shipped.path;
  isLock = lockFile != null && problem == null;
  locked = lib.importJSON lockFile;
  which =
    if ready then
      "the lock of ${here}.package"
    else if cfg.lock != null then
      "the lock ${baseNameOf (toString cfg.lock)}"
    else
      "the lock that comes with opencode-cache for OpenCode ${locked.opencode.version}";

  of = kind: lib.filter (request: request.kind == kind) locked.requests;
  spellings = import ./spellings.nix { inherit lib; };
  has = kind: wanted: lib.any (request: lib.elem wanted (spellings request)) (of kind);
  list = names: if names == [ ] then "none" else lib.concatStringsSep ", " names;

  # The whole command: a lock is made anew from what is asked for, so it names what the other options want as well.
  command =
    plugins:
    lib.concatStringsSep " " (
      [ "nix run ${repository}#lock --" ]
      ++ map (name: "--plugin ${lib.escapeShellArg name}") (lib.unique (cfg.plugins ++ plugins))
      ++ map (name: "--provider ${lib.escapeShellArg name}") cfg.providers
      ++ map (name: "--tool ${lib.escapeShellArg name}") cfg.tools
      ++ lib.optional (version != null) "--opencode-version ${version}"
      ++ [ "-o opencode-cache.lock.json" ]
    );
  fix =
    plugins:
    "run `${command plugins}`, then set ${here}.lock = ./opencode-cache.lock.json"
    + lib.optionalString ready " (and no package that has a cache already)";

  plurals = {
    plugin = "plugins";
    provider = "providers";
    tool = "tools";
  };
  inLock =
    option: kind: wanted:
    let
      reasons = lib.filter (entry: entry.spec == wanted && entry.kind == kind) (locked.unavailable or [ ]);
      # The registry does not have it: another lock would not either.
      unavailable = reasons != [ ];
    in
    {
      assertion = !isLock || has kind wanted;
      message =
        "${option}: \"${wanted}\" is not in ${which}, which has these ${plurals.${kind}}: ${
          list (map (request: request.spec) (of kind))
        }"
        + (
          if unavailable then
            "; it could not be locked, since ${(lib.head reasons).reason}: leave it out of ${option}"
          else
            "; ${fix (lib.optional (kind == "plugin") wanted)}"
        )
        + lib.optionalString (
          kind == "provider" && !unavailable
        ) "; an SDK that OpenCode bundles need not be named here";
    };

  # An entry of `plugin` is a spec, a file or directory, or a list of one of those and its options.
  plain = entry: toString (if builtins.isList entry then lib.head entry else entry);
  isLocal =
    text:
    lib.any (prefix: lib.hasPrefix prefix text) [
      "."
      "/"
      "~"
      "file:"
    ];
  named = value: map plain (value.plugin or [ ]);
  inSettings =
    option: known: value:
    map (inLock "${option}.plugin" "plugin") (
      lib.filter (text: !isLocal text && !lib.elem text known) (named value)
    );

  fromPackage = option: default: {
    assertion = !ready || cfg.${option} == default;
    message = "${here}.${option} has no effect, since ${here}.package has a cache already; give `${option}` to mkOpencode there, or set ${here}.package to an OpenCode without a cache (pkgs.opencode)";
  };
in
[
  {
    assertion = problem == null;
    message = "${here}.lock: ${toString problem}";
  }
  {
    assertion = cfg.onUnsupported != "throw" || cfg.unsupported == null;
    message = "${here}.package: ${toString cfg.unsupported}, or set ${here}.onUnsupported = \"bare\" for OpenCode without a cache";
  }
  (fromPackage "lock" null)
  (fromPackage "offline" true)
  (fromPackage "extraPackages" [ ])
]
++ map (inLock "${here}.plugins" "plugin") cfg.plugins
++ map (inLock "${here}.providers" "provider") cfg.providers
++ map (inLock "${here}.tools" "tool") cfg.tools
++ lib.optionals cfg.offline (
  inSettings "${here}.settings" cfg.plugins cfg.settings
  ++ lib.concatLists (
    lib.mapAttrsToList (option: inSettings option (cfg.plugins ++ named cfg.settings)) settings
  )
)
