"""Flakes that use the modules: with what home-manager and NixOS declare, and with those themselves."""

USERS = """\
{
  inputs = {
    nixpkgs.url = "@NIXPKGS@";
    opencode-cache.url = "@PROJECT@";
    opencode-cache.inputs.nixpkgs.follows = "nixpkgs";
  };
  outputs = { nixpkgs, opencode-cache, ... }:
    let
      inherit (nixpkgs) lib;
      pkgs = nixpkgs.legacyPackages.x86_64-linux;
      open = lib.mkOption { type = lib.types.attrsOf lib.types.raw; default = { }; };
      list = type: lib.mkOption { type = lib.types.listOf type; default = [ ]; };
      # What home-manager and NixOS declare, and that they end where an assertion fails.
      surroundings.options = {
        assertions = list lib.types.raw;
        warnings = list lib.types.str;
        home.packages = list lib.types.package;
        home.sessionVariables = open;
        environment.variables = open;
        xdg.configFile = open;
        environment.systemPackages = list lib.types.package;
        environment.etc = open;
        systemd.services = open;
        systemd.sockets = open;
        systemd.tmpfiles.rules = list lib.types.str;
      };
      evaluate = module: configuration:
        let
          inherit ((lib.evalModules {
            modules = [ surroundings module configuration ];
            specialArgs = { inherit lib pkgs; };
          })) config;
          failed = lib.filter (a: !a.assertion) config.assertions;
        in
        lib.throwIf (failed != [ ]) (lib.concatMapStrings (a: "- ${a.message}\\n") failed) config;
      home = settings: evaluate opencode-cache.homeModules.default {
        programs.opencode-cache = { enable = true; } // settings;
      };
      nixos = settings: evaluate opencode-cache.nixosModules.default {
        services.opencode-cache = { enable = true; passwordFile = "/run/password"; } // settings;
      };
      # The package that is installed; its evaluation checks every assertion.
      installed = settings: lib.head (home settings).home.packages;
      unit = settings:
        let inherit ((nixos settings).systemd.services) opencode-cache;
        in pkgs.writeText "unit.json" (builtins.toJSON {
          inherit (opencode-cache) environment script serviceConfig;
        });
      lock = ./own.lock.json;
    in
    {
      packages.x86_64-linux = {
        plain = installed { };
        mine = installed { inherit lock; plugins = [ "opencode-gemini-auth" ]; };
        by-hand = opencode-cache.lib.mkOpencode { inherit pkgs lock; };
        config = (home {
          inherit lock;
          plugins = [ "opencode-gemini-auth" ];
          settings.share = "disabled";
        }).xdg.configFile."opencode/opencode.json".source;
        lacking-setting = (home {
          settings.mcp.notes = { type = "local"; command = [ "npx" "-y" "my-notes" ]; };
          settings.provider.mine.options.apiKey = "{file:~/key}";
        }).xdg.configFile."opencode/opencode.json".source;
        ready = installed { package = opencode-cache.packages.x86_64-linux.default; };

        wrong-type = installed { plugins = "opencode-gemini-auth"; };
        wrong-lock = installed { lock = "my.lock.json"; };
        wrong-element = installed { providers = [ 5 ]; };
        unknown-option = installed { plugin = [ ]; };
        unknown-provider = installed { inherit lock; providers = [ "@ai-sdk/nobody" ]; };
        unlocked-plugin = installed { plugins = [ "opencode-gemini-auth" ]; };
        unlocked-tool = installed { inherit lock; tools = [ "bash-language-server" ]; };
        unlocked-setting = installed { settings.plugin = [ "opencode-nobody" ]; };

        unit = unit { };
        proxied = pkgs.writeText "proxy.sh" ''
          exec ${(nixos { allowedHosts = [ "localhost:9443" ]; })
            .systemd.services.opencode-cache-egress.serviceConfig.ExecStart}
        '';
        open-address = unit { hostname = "0.0.0.0"; };
        no-password = unit { passwordFile = null; };
        a-name = unit { allowedAddresses = [ "api.anthropic.com" ]; };
        wrong-port = unit { port = "4096"; };
      };
    };
}
"""

GENUINE = """\
{
  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";
    home-manager.url = "github:nix-community/home-manager";
    home-manager.inputs.nixpkgs.follows = "nixpkgs";
    opencode-cache.url = "@PROJECT@";
    opencode-cache.inputs.nixpkgs.follows = "nixpkgs";
  };
  outputs = { nixpkgs, home-manager, opencode-cache, ... }:
    let
      home = settings: (home-manager.lib.homeManagerConfiguration {
        pkgs = nixpkgs.legacyPackages.x86_64-linux;
        modules = [
          opencode-cache.homeModules.default
          {
            home = { username = "ada"; homeDirectory = "/home/ada"; stateVersion = "25.11"; };
            programs.opencode-cache.enable = true;
          }
          settings
        ];
      });
    in
    {
      packages.x86_64-linux = {
        alone = (home { programs.opencode-cache.settings.share = "disabled"; }).activationPackage;
        together = (home { programs.opencode.enable = true; }).activationPackage;
        plugin = (home { programs.opencode-cache.plugins = [ "opencode-nobody" ]; }).activationPackage;
        machine = (nixpkgs.lib.nixosSystem {
          system = "x86_64-linux";
          modules = [
            opencode-cache.nixosModules.default
            {
              boot.isContainer = true;
              system.stateVersion = "25.11";
              programs.opencode-cache.enable = true;
              services.opencode-cache = {
                enable = true;
                passwordFile = "/run/secrets/opencode-password";
                allowedHosts = [ "api.anthropic.com" ];
              };
            }
          ];
        }).config.system.build.toplevel;
      };
    };
}
"""
