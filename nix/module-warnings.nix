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
lib.optional (cfg.unsupported != null && cfg.onUnsupported == "bare")
  "programs.opencode-cache: OpenCode comes without a cache: ${cfg.unsupported}"
