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
      sockets = lib.attrNames (server { }).config.systemd.sockets;
      installed = (server { }).config.environment.systemPackages;
    };
    expected = {
      wrong = [ ];
      units = [
        "opencode-cache"
        "opencode-cache-in"
      ];
      sockets = [ "opencode-cache-in" ];
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
          MemoryMax
          NoNewPrivileges
          PrivateNetwork
          PrivateTmp
          ProtectHome
          ProtectSystem
          TasksMax
          UMask
          ;
        bus = lib.elem "-/run/dbus" has.InaccessiblePaths;
      };
    expected = {
      CapabilityBoundingSet = "";
      DynamicUser = true;
      IPAddressAllow = [ "localhost" ];
      IPAddressDeny = "any";
      MemoryDenyWriteExecute = false;
      MemoryMax = "4G";
      NoNewPrivileges = true;
      PrivateNetwork = true;
      PrivateTmp = true;
      ProtectHome = true;
      ProtectSystem = "strict";
      TasksMax = 1024;
      UMask = "0077";
      bus = true;
    };
  };
  "${here "enable"}: a socket of the machine leads into the server's own network" = {
    expr =
      let
        inherit ((server { }).config.systemd) services sockets;
      in
      {
        inherit (sockets.opencode-cache-in.socketConfig) ListenStream;
        inherit (services.opencode-cache-in.unitConfig) JoinsNamespaceOf;
        inherit (services.opencode-cache-in.serviceConfig) ExecStart PrivateNetwork;
      };
    expected = {
      ListenStream = "127.0.0.1:4096";
      JoinsNamespaceOf = "opencode-cache.service";
      ExecStart = "${tools.systemd.outPath}/lib/systemd/systemd-socket-proxyd 127.0.0.1:4096";
      PrivateNetwork = true;
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
      XDG_CONFIG_HOME = "/nix/store/00000000000000000000000000000000-opencode-cache-server-config";
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
  "${here "workingDirectory"}: made where it is not there, of the group" = {
    expr =
      map
        (
          settings: (server settings).config.systemd.tmpfiles.rules
        )
        [
          { }
          { workingDirectory = "/home/ada/project"; supplementaryGroups = [ "users" ]; }
          { workingDirectory = "/srv/project"; supplementaryGroups = [ "developers" ]; }
          { workingDirectory = "/srv/project"; user = "opencode"; group = "developers"; }
        ];
    expected = [
      [ ]
      [ ]
      [ "d /srv/project :2770 :root :developers -" ]
      [ "d /srv/project :0750 :opencode :developers -" ]
    ];
  };
  "${here "workingDirectory"}: somebody has to be able to write there" = {
    expr = first { workingDirectory = "/srv/project"; };
    expected = "services.opencode-cache.workingDirectory: a user that systemd makes for the server cannot write /srv/project; set services.opencode-cache.supplementaryGroups = [ \"developers\" ] to a group that can, or services.opencode-cache.user";
  };

  "${here "package"}: that of programs.opencode-cache" = {
    expr = lib.hasInfix "-opencode-with-cache-" (unit { }).script;
    expected = true;
  };
  "${here "package"}: another one" = {
    expr = lib.hasInfix "exec ${tools.git.outPath}/bin/git serve" (unit { package = tools.git; }).script;
    expected = true;
  };
  "${here "package"}: none" = {
    expr = map (lib.hasPrefix "services.opencode-cache.package is null") (messages (server { package = null; }));
    expected = [ true ];
  };
  "${here "user"}: one that is there" = {
    expr =
      let
        inherit ((unit { user = "opencode"; })) serviceConfig;
      in
      {
        inherit (serviceConfig) DynamicUser User;
        group = serviceConfig ? Group;
      };
    expected = {
      DynamicUser = false;
      User = "opencode";
      group = false;
    };
  };
  "${here "group"}: beside a user" = {
    expr = (unit {
      user = "opencode";
      group = "developers";
    }).serviceConfig.Group;
    expected = "developers";
  };
  "${here "group"}: without a user" = {
    expr = first { group = "developers"; };
    expected = "services.opencode-cache.group is \"developers\", and services.opencode-cache.user is not set; set services.opencode-cache.user as well, or services.opencode-cache.supplementaryGroups instead";
  };
  "${here "umask"}: wins" = {
    expr = (unit {
      umask = "0027";
      workingDirectory = "/srv/project";
    }).serviceConfig.UMask;
    expected = "0027";
  };
  "${here "umask"}: a wrong one" = {
    expr = refused (server { umask = "8"; }) (config: config.services.opencode-cache.umask);
    expected = true;
  };
  "${here "memoryMax"}: the unit's" = {
    expr = (unit { memoryMax = "16G"; }).serviceConfig.MemoryMax;
    expected = "16G";
  };
  "${here "tasksMax"}: the unit's" = {
    expr = (unit { tasksMax = 256; }).serviceConfig.TasksMax;
    expected = 256;
  };
  "${here "tasksMax"}: a wrong one" = {
    expr = refused (server { tasksMax = 0; }) (config: config.services.opencode-cache.tasksMax);
    expected = true;
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
        # What is reached directly is in the machine's network.
        inherit ((unit { inherit allowedAddresses; }).serviceConfig) PrivateNetwork;
        sockets = lib.attrNames (server { inherit allowedAddresses; }).config.systemd.sockets;
      };
    expected = {
      PrivateNetwork = false;
      sockets = [ ];
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
            "*.example.com:8443"
          ];
        };
        conf = lib.removePrefix "${tools.tinyproxy.outPath}/bin/tinyproxy -d -c " has.opencode-cache-egress.serviceConfig.ExecStart;
      in
      {
        units = lib.attrNames has;
        inherit (has.opencode-cache.environment) HTTPS_PROXY NO_PROXY;
        plain = has.opencode-cache.environment ? HTTP_PROXY;
        inherit (has.opencode-cache.serviceConfig) IPAddressAllow PrivateNetwork;
        inherit (has.opencode-cache) wants;
        # The socket is there first, so the network has its name, for both.
        joins = map (name: has.${name}.unitConfig.JoinsNamespaceOf) [
          "opencode-cache"
          "opencode-cache-in"
        ];
        denied = map (net: lib.elem net has.opencode-cache-egress.serviceConfig.IPAddressDeny) [
          "link-local"
          "10.0.0.0/8"
          "192.168.0.0/16"
        ];
        filter = lib.hasSuffix "opencode-cache-egress.conf" conf;
      };
    expected = {
      units = [
        "opencode-cache"
        "opencode-cache-egress"
        "opencode-cache-in"
        "opencode-cache-out"
      ];
      HTTPS_PROXY = "http://127.0.0.1:4098";
      NO_PROXY = "localhost,127.0.0.1,::1";
      plain = false;
      IPAddressAllow = [ "localhost" ];
      PrivateNetwork = true;
      wants = [ "opencode-cache-out.socket" ];
      joins = [
        "opencode-cache-out.socket"
        "opencode-cache-out.socket"
      ];
      denied = [
        true
        true
        true
      ];
      filter = true;
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
    expected = "services.opencode-cache.allowedHosts: https://api.openai.com, 192.0.2.7 is not the name of a host (\"api.anthropic.com\", or \"models.example.com:8443\" for another port than 443; no https://); give addresses to services.opencode-cache.allowedAddresses instead";
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
