# darwinModules.default: `programs.opencode-cache` for all users of a machine with nix-darwin.
#
# macOS has its managed configuration below /Library, which nix-darwin does not write. So the settings are a file in
# the store that OPENCODE_CONFIG names: read after the user's own, and before the project's (src/config/config.ts, 1.18).
{ mkOpencode }:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.programs.opencode-cache;
in
{
  key = "opencode-cache/nix/darwin-module.nix";
  _file = "opencode-cache/nix/darwin-module.nix";
  imports = [ (import ./module-options.nix { inherit mkOpencode; }) ];

  config = lib.mkIf cfg.enable {
    assertions = import ./module-checks.nix { inherit lib cfg; };
    warnings = import ./module-warnings.nix { inherit lib cfg; };
    environment.systemPackages = lib.optional (cfg.finalPackage != null) cfg.finalPackage;
    environment.variables = lib.mkMerge [
      (lib.mkIf cfg.shareSessions (import ./shared-sessions.nix))
      (lib.mkIf (cfg.finalSettings != { }) {
        OPENCODE_CONFIG = "${cfg.settingsFile}";
      })
    ];
  };
}
