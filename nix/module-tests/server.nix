# Tests of `services.opencode-cache`.
{
  lib,
  nixos,
  lock,
  messages,
  refused,
  tools,
  ...
}:
let
  here = option: "services.opencode-cache.${option}";
  password = "/run/secrets/password";
  server =
    settings:
    nixos {
      services.opencode-cache = {
        enable = true;
        passwordFile = password;
      } // settings;
    };
  services = settings: (server settings).config.systemd.services;
  unit = settings: (services settings).opencode-cache;
  first = settings: lib.head (messages (server settings) ++ [ "nothing is wrong" ]);
  contains = part: text: builtins.length (builtins.filter builtins.isString (builtins.split part text)) > 1;
in
{
  "${here "enable"}: a unit, and nothing installed" = {
    expr = {
      wrong = messages (server { });
      units = lib.attrNames (services { });
      installed = (server { }).config.environment.systemPackages;
    };
    expected = {
      wrong = [ ];
      units = [ "opencode-cache" ];
      installed = [ ];
    };
  };
  "${here "enable"}: no more rights than it needs" = {
    expr =
      let
        has = (unit { }).serviceConfig;
      in
      {
        inherit (has)
          CapabilityBoundingSet
          DynamicUser
          IPAddressAllow
          IPAddressDeny
          MemoryDenyWriteExecute
          NoNewPrivileges
          PrivateTmp
          ProtectHome
          ProtectSystem
          UMask
          ;
      };
    expected = {
      CapabilityBoundingSet = "";
      DynamicUser = true;
      IPAddressAllow = [ "localhost" ];
      IPAddressDeny = "any";
      MemoryDenyWriteExecute = false;
      NoNewPrivileges = true;
      PrivateTmp = true;
      ProtectHome = true;
      ProtectSystem = "strict";
      UMask = "0077";
    };
  };
  "${here "enable"}: OpenCode's directories are systemd's" = {
    expr =
      let
        inherit ((unit { })) environment serviceConfig;
      in
      {
        inherit (environment)
          HOME
          SHELL
          XDG_CACHE_HOME
          XDG_CONFIG_HOME
          XDG_DATA_HOME
          XDG_STATE_HOME
          ;
        inherit (serviceConfig) CacheDirectory StateDirectory;
      };
    expected = {
      HOME = "/var/lib/opencode-cache";
      SHELL = "${tools.bash.outPath}/bin/bash";
      XDG_CACHE_HOME = "/var/cache/opencode-cache";
      XDG_CONFIG_HOME = "/var/lib/opencode-cache/config";
      XDG_DATA_HOME = "/var/lib/opencode-cache/data";
      XDG_STATE_HOME = "/var/lib/opencode-cache/state";
      CacheDirectory = "opencode-cache";
      StateDirectory = [
        "opencode-cache"
        "opencode-cache/work"
      ];
    };
  };
  "${here "enable"}: the lock and the plugins of programs.opencode-cache" = {
    expr =
      let
        evaluated = nixos {
          services.opencode-cache = {
            enable = true;
            passwordFile = password;
          };
          programs.opencode-cache = {
            inherit lock;
            plugins = [
              "opencode-gemini-auth"
              "opencode-nobody"
            ];
          };
        };
      in
      {
        inherit (evaluated.config.environment.etc."opencode/opencode.json".source.value) plugin;
        wrong = map (lib.hasPrefix "programs.opencode-cache.plugins: \"opencode-nobody\"") (messages evaluated);
      };
    expected = {
      plugin = [
        "opencode-gemini-auth"
        "opencode-nobody"
      ];
      wrong = [ true ];
    };
  };

  "${here "hostname"}: loopback" = {
    expr = map (hostname: messages (server { inherit hostname; })) [
      "127.0.0.1"
      "127.8.0.1"
      "::1"
      "localhost"
    ];
    expected = [
      [ ]
      [ ]
      [ ]
      [ ]
    ];
  };
  "${here "hostname"}: any other address" = {
    expr = first { hostname = "0.0.0.0"; };
    expected = "services.opencode-cache.hostname: \"0.0.0.0\" is not a loopback address, and OpenCode speaks HTTP without TLS; set services.opencode-cache.hostname = \"127.0.0.1\" and let a reverse proxy with TLS, or `ssh -L`, lead there";
  };

  "${here "port"}: on the command line" = {
    expr = contains "serve --hostname ::1 --port 4097\n" (
      (unit {
        hostname = "::1";
        port = 4097;
      }).script
    );
    expected = true;
  };
  "${here "port"}: a wrong type" = {
    expr = map (port: refused (server { inherit port; }) (config: config.systemd.services.opencode-cache.script)) [
      70000
      "4096"
    ];
    expected = [
      true
      true
    ];
  };

  "${here "passwordFile"}: a credential of systemd's" = {
    expr = (unit { }).serviceConfig.LoadCredential;
    expected = "password:${password}";
  };
  "${here "passwordFile"}: required" = {
    expr = first { passwordFile = null; };
    expected = "services.opencode-cache.passwordFile is not set, and without a password everybody on this machine could run commands as the server; write one to a file that root alone can read, and set services.opencode-cache.passwordFile = \"/run/secrets/opencode-password\" to its path";
  };
  "${here "passwordFile"}: not in the store" = {
    expr = first { passwordFile = "${builtins.storeDir}/abc-password"; };
    expected = "services.opencode-cache.passwordFile: ${builtins.storeDir}/abc-password is in the Nix store, which everybody can read; set services.opencode-cache.passwordFile to the path of a file outside, in quotes (\"/run/secrets/opencode\")";
  };

  "${here "username"}: in the environment" = {
    expr = (unit { username = "ada"; }).environment.OPENCODE_SERVER_USERNAME;
    expected = "ada";
  };

  "${here "settings"}: a file of the server's own" = {
    expr = (unit { settings.permission.bash = "ask"; }).environment.OPENCODE_CONFIG;
    expected = "/nix/store/00000000000000000000000000000000-opencode-server.json";
  };
  "${here "settings"}: none, no file" = {
    expr = (unit { }).environment ? OPENCODE_CONFIG;
    expected = false;
  };
  "${here "settings"}: a plugin that the lock lacks" = {
    expr = map (lib.hasPrefix "services.opencode-cache.settings.plugin: \"opencode-nobody\" is not in") (
      messages (server { settings.plugin = [ "opencode-nobody" ]; })
    );
    expected = [ true ];
  };

  "${here "environment"}: wins over what is set here" = {
    expr =
      (unit {
        environment = {
          SHELL = "/bin/other";
          OPENCODE_DISABLE_SHARE = "1";
        };
      }).environment.SHELL;
    expected = "/bin/other";
  };
  "${here "environment"}: a wrong type" = {
    expr = refused (server { environment.A = 1; }) (config: config.services.opencode-cache.environment);
    expected = true;
  };

  "${here "environmentFile"}: read by systemd" = {
    expr = (unit { environmentFile = "/run/secrets/env"; }).serviceConfig.EnvironmentFile;
    expected = "/run/secrets/env";
  };
  "${here "environmentFile"}: not in the store" = {
    expr = lib.hasPrefix "services.opencode-cache.environmentFile: " (
      first { environmentFile = "${builtins.storeDir}/abc-env"; }
    );
    expected = true;
  };

  "${here "workingDirectory"}: the server's own" = {
    expr = (unit { }).serviceConfig.WorkingDirectory;
    expected = "/var/lib/opencode-cache/work";
  };
  "${here "workingDirectory"}: another one, writable and known to git" = {
    expr =
      let
        inherit ((unit { workingDirectory = "/srv/project"; })) environment serviceConfig;
      in
      {
        inherit (environment) GIT_CONFIG_VALUE_0;
        inherit (serviceConfig)
          ProtectHome
          ReadWritePaths
          UMask
          WorkingDirectory
          ;
      };
    expected = {
      GIT_CONFIG_VALUE_0 = "/srv/project";
      ProtectHome = true;
      ReadWritePaths = [ "/srv/project" ];
      UMask = "0007";
      WorkingDirectory = "/srv/project";
    };
  };
  "${here "workingDirectory"}: one in a home, the only thing seen there" = {
    expr =
      let
        inherit ((unit { workingDirectory = "/home/ada/project"; })) serviceConfig;
      in
      {
        inherit (serviceConfig) BindPaths ProtectHome;
      };
    expected = {
      BindPaths = [ "/home/ada/project" ];
      ProtectHome = "tmpfs";
    };
  };
  "${here "supplementaryGroups"}: the unit's" = {
    expr = (unit { supplementaryGroups = [ "developers" ]; }).serviceConfig.SupplementaryGroups;
    expected = [ "developers" ];
  };
  "${here "path"}: after bash and git" = {
    expr = (unit { path = [ tools.nodejs ]; }).path;
    expected = [
      tools.bash
      tools.git
      tools.nodejs
    ];
  };

  "${here "allowedAddresses"}: addresses and networks" = {
    expr =
      let
        allowedAddresses = [
          "192.0.2.7"
          "10.0.0.0/8"
          "2001:db8::/32"
        ];
      in
      {
        wrong = messages (server { inherit allowedAddresses; });
        allowed = (unit { inherit allowedAddresses; }).serviceConfig.IPAddressAllow;
      };
    expected = {
      wrong = [ ];
      allowed = [
        "localhost"
        "192.0.2.7"
        "10.0.0.0/8"
        "2001:db8::/32"
      ];
    };
  };
  "${here "allowedAddresses"}: a name is none" = {
    expr = first { allowedAddresses = [ "api.anthropic.com" ]; };
    expected = "services.opencode-cache.allowedAddresses: api.anthropic.com is not an IP address or network, and systemd filters nothing else; name hosts in services.opencode-cache.allowedHosts instead";
  };

  "${here "allowedHosts"}: through a filtering proxy" = {
    expr =
      let
        has = services {
          allowedHosts = [
            "api.anthropic.com"
            "*.openai.azure.com"
          ];
        };
      in
      {
        units = lib.attrNames has;
        inherit (has.opencode-cache.environment) HTTPS_PROXY NO_PROXY;
        inherit (has.opencode-cache.serviceConfig) IPAddressAllow;
        inherit (has.opencode-cache) wants;
      };
    expected = {
      units = [
        "opencode-cache"
        "opencode-cache-egress"
      ];
      HTTPS_PROXY = "http://127.0.0.1:4098";
      NO_PROXY = "localhost,127.0.0.1,::1";
      IPAddressAllow = [ "localhost" ];
      wants = [ "opencode-cache-egress.service" ];
    };
  };
  "${here "allowedHosts"}: neither URLs nor addresses" = {
    expr = first {
      allowedHosts = [
        "api.anthropic.com"
        "https://api.openai.com"
        "192.0.2.7"
      ];
    };
    expected = "services.opencode-cache.allowedHosts: https://api.openai.com, 192.0.2.7 is not the name of a host (\"api.anthropic.com\", \"*.openai.azure.com\"; no https://, no port); give addresses to services.opencode-cache.allowedAddresses instead";
  };
  "${here "proxyPort"}: where the proxy listens" = {
    expr =
      (unit {
        allowedHosts = [ "api.anthropic.com" ];
        proxyPort = 8898;
      }).environment.HTTPS_PROXY;
    expected = "http://127.0.0.1:8898";
  };
  "${here "proxyPort"}: not the server's own" = {
    expr = first {
      allowedHosts = [ "api.anthropic.com" ];
      proxyPort = 4096;
    };
    expected = "services.opencode-cache.proxyPort and services.opencode-cache.port are both 4096; set services.opencode-cache.proxyPort to another one";
  };
}
