/**
  Warnings of the modules, one sentence each.

  # Type

  ```
  moduleWarnings :: { lib, cfg } -> [ string ]
  ```
*/
{
  lib,
  # config.programs.opencode-cache
  cfg,
}:
let
  here = "programs.opencode-cache";
  # As home-manager's own modules say it of their options.
  idle = lib.optionals (cfg.package == null) (
    lib.optional (cfg.lock != null) "lock" ++ lib.optional (cfg.extraPackages != [ ]) "extraPackages"
  );
in
lib.optional (
  cfg.unsupported != null && cfg.onUnsupported == "bare"
) "${here}: OpenCode comes without a cache: ${cfg.unsupported}"
++ map (
  option: "${here}.${option} has no effect, since ${here}.package is null; leave one of the two out"
) idle
