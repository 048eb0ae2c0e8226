# homeModules.default: `programs.opencode-cache` for home-manager.
#
# Where home-manager's own `programs.opencode` is enabled, it gets the package and the settings, and goes on writing
# the configuration; elsewhere this module installs the package and writes opencode.json. Single files in a
# ~/.config/opencode that is a real directory: OpenCode ends with an error where the directory itself is in the store.
{ mkOpencode }:
{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  cfg = config.programs.opencode-cache;
  # Older home-managers have no such module.
  isThere = options.programs ? opencode;
  theirs = config.programs.opencode;
  together = isThere && theirs.enable;
in
{
  key = "opencode-cache/nix/home-module.nix";
  _file = "opencode-cache/nix/home-module.nix";
  imports = [ (import ./module-options.nix { inherit mkOpencode; }) ];

  config = lib.mkIf cfg.enable (
    lib.mkMerge [
      {
        assertions = import ./module-checks.nix {
          inherit lib cfg;
          settings = lib.optionalAttrs together { "programs.opencode.settings" = theirs.settings; };
        };
        warnings = import ./module-warnings.nix { inherit lib cfg; };
        home.sessionVariables = lib.mkIf cfg.shareSessions (import ./shared-sessions.nix);
      }

      (lib.mkIf (!together) {
        home.packages = lib.optional (cfg.finalPackage != null) cfg.finalPackage;
        xdg.configFile."opencode/opencode.json" = lib.mkIf (cfg.finalSettings != { }) {
          source = cfg.settingsFile;
        };
      })

      (lib.optionalAttrs isThere {
        programs.opencode = lib.mkIf theirs.enable {
          # A default, so that a package of the user's is a sentence below and not a conflict.
          package = lib.mkDefault cfg.finalPackage;
          # What `tools` switch on gives way to what is said there.
          settings = lib.mapAttrs (
            name: value: if name == "plugin" || cfg.settings ? ${name} then value else lib.mkDefault value
          ) cfg.finalSettings;
        };
        # OpenCode takes one of the two; which, is nothing to guess about.
        warnings =
          let
            named = theirs.settings.plugin or [ ];
            twice = lib.filter (plugin: lib.length (lib.filter (one: one == plugin) named) > 1) cfg.plugins;
          in
          lib.optional (theirs.enable && twice != [ ])
            "programs.opencode.settings.plugin and programs.opencode-cache.plugins both name ${lib.concatStringsSep ", " twice}; leave it out of programs.opencode.settings.plugin";
        assertions = [
          {
            assertion = !theirs.enable || theirs.package == cfg.finalPackage;
            message = "programs.opencode.package is set as well as programs.opencode-cache.enable, so OpenCode would start without its cache; set programs.opencode-cache.package to that package instead";
          }
        ];
      })
    ]
  );
}
