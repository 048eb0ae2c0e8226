# nixosModules.default: `programs.opencode-cache` for all users of a NixOS machine, and `services.opencode-cache`.
{ mkOpencode }:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.programs.opencode-cache;
  server = config.services.opencode-cache;
in
{
  key = "opencode-cache/nix/nixos-module.nix";
  _file = "opencode-cache/nix/nixos-module.nix";
  imports = [
    (import ./module-options.nix { inherit mkOpencode; })
    ./nixos-server.nix
  ];

  config = lib.mkMerge [
    (lib.mkIf cfg.enable {
      environment.systemPackages = lib.optional (cfg.finalPackage != null) cfg.finalPackage;
      environment.variables = lib.mkIf cfg.shareSessions (import ./shared-sessions.nix);
    })

    (lib.mkIf (cfg.enable || server.enable) {
      assertions = import ./module-checks.nix {
        inherit lib cfg;
        settings = lib.optionalAttrs server.enable { "services.opencode-cache.settings" = server.settings; };
      };
      warnings = import ./module-warnings.nix { inherit lib cfg; };

      # OpenCode's managed configuration (src/config/managed.ts, 1.18): read last, so it wins over the users' own.
      environment.etc."opencode/opencode.json" = lib.mkIf (cfg.finalSettings != { }) {
        source = cfg.settingsFile;
      };
    })
  ];
}
