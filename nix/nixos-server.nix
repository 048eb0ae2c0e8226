# `services.opencode-cache`: `opencode serve` as a unit that has no more than it needs.
#
# Its package and its managed configuration are those of `programs.opencode-cache`.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) literalExpression mkOption types;
  cfg = config.services.opencode-cache;
  programs = config.programs.opencode-cache;
  here = "services.opencode-cache";

  state = "/var/lib/opencode-cache";
  workingDirectory = if cfg.workingDirectory == null then "${state}/work" else cfg.workingDirectory;
  hidden = lib.any (place: lib.hasPrefix "${place}/" "${workingDirectory}/") [
    "/home"
    "/root"
    "/run/user"
  ];

  matches = pattern: text: builtins.match pattern text != null;
  isLoopback = matches "localhost|::1|127\\.[0-9]+\\.[0-9]+\\.[0-9]+";
  isAddress = matches "([0-9]{1,3}\\.){3}[0-9]{1,3}(/[0-9]{1,2})?|[0-9a-fA-F]*:[0-9a-fA-F:.]*(/[0-9]{1,3})?";
  isHost = text: matches "(\\*\\.)?([a-zA-Z0-9-]+\\.)*[a-zA-Z0-9-]+" text && !isAddress text;
  list = lib.concatStringsSep ", ";
  notAddresses = lib.filter (text: !isAddress text) cfg.allowedAddresses;
  notHosts = lib.filter (text: !isHost text) cfg.allowedHosts;

  filtered = cfg.allowedHosts != [ ];
  proxy = "http://127.0.0.1:${toString cfg.proxyPort}";
  proxyVariables = lib.optionalAttrs filtered {
    HTTPS_PROXY = proxy;
    HTTP_PROXY = proxy;
    https_proxy = proxy;
    http_proxy = proxy;
    NO_PROXY = "localhost,127.0.0.1,::1";
    no_proxy = "localhost,127.0.0.1,::1";
  };

  # What OpenCode and the filter share.
  hardening = {
    DynamicUser = true;
    NoNewPrivileges = true;
    ProtectSystem = "strict";
    PrivateTmp = true;
    PrivateDevices = true;
    PrivateUsers = true;
    ProtectClock = true;
    ProtectControlGroups = true;
    ProtectHostname = true;
    ProtectKernelLogs = true;
    ProtectKernelModules = true;
    ProtectKernelTunables = true;
    ProtectProc = "invisible";
    CapabilityBoundingSet = "";
    KeyringMode = "private";
    LockPersonality = true;
    RemoveIPC = true;
    RestrictNamespaces = true;
    RestrictRealtime = true;
    RestrictSUIDSGID = true;
    SystemCallArchitectures = "native";
    UMask = "0077";
    Restart = "on-failure";
    RestartSec = 5;
  };

  pattern =
    host:
    let
      escaped = lib.replaceStrings [ "." ] [ "\\." ];
    in
    if lib.hasPrefix "*." host then
      "^.+\\.${escaped (lib.removePrefix "*." host)}$"
    else
      "^${escaped host}$";
  filter = pkgs.writeText "opencode-cache-hosts" (lib.concatMapStrings (host: "${pattern host}\n") cfg.allowedHosts);
  filterConfig = pkgs.writeText "opencode-cache-egress.conf" ''
    Port ${toString cfg.proxyPort}
    Listen 127.0.0.1
    Allow 127.0.0.1
    ConnectPort 443
    Filter "${filter}"
    FilterDefaultDeny Yes
    FilterType ere
    DisableViaHeader Yes
    LogLevel Notice
  '';
in
{
  options.services.opencode-cache = {
    enable = lib.mkEnableOption "`opencode serve`, on loopback, with a password, and with nothing to reach but what is allowed";

    hostname = mkOption {
      type = types.str;
      default = "127.0.0.1";
      example = "::1";
      description = ''
        Address to listen on, a loopback address. OpenCode speaks plain HTTP and runs commands for whoever has the
        password: for other machines, put a reverse proxy with TLS before it, or use SSH's port forwarding.
      '';
    };

    port = mkOption {
      type = types.port;
      default = 4096;
      example = 4097;
      description = "TCP port to listen on.";
    };

    passwordFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/run/secrets/opencode-password";
      description = ''
        File with the password of HTTP basic authentication, on one line; required. It is read by systemd, so root
        alone has to be able to read it, and it must not be in the Nix store.
      '';
    };

    username = mkOption {
      type = types.str;
      default = "opencode";
      example = "ada";
      description = "User name of HTTP basic authentication.";
    };

    settings = mkOption {
      inherit (pkgs.formats.json { }) type;
      default = { };
      example = {
        permission.bash = "ask";
      };
      description = ''
        Configuration of this server alone, in the form of `opencode.json`. {option}`programs.opencode-cache.settings`
        wins over it, since OpenCode reads that as the machine's managed configuration.
      '';
    };

    environment = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = {
        OPENCODE_DISABLE_SHARE = "1";
      };
      description = "Environment variables of the server. They are in the Nix store: no secrets.";
    };

    environmentFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/run/secrets/opencode.env";
      description = ''
        File with more environment variables, `NAME=value` on each line, for API keys (`ANTHROPIC_API_KEY=…`); not in
        the Nix store. Commands that the agent runs see these variables.
      '';
    };

    workingDirectory = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/srv/project";
      description = ''
        Directory that the server works in, the only one beside its own that it can write. It has to exist, and one of
        `supplementaryGroups` needs to have the right to write there. `null`: `work` in the server's state directory,
        `/var/lib/opencode-cache`.
      '';
    };

    supplementaryGroups = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "developers" ];
      description = "Groups that the server's user, made when it starts, is in.";
    };

    path = mkOption {
      type = types.listOf types.package;
      default = [ ];
      example = literalExpression "[ pkgs.nodejs pkgs.gnumake ]";
      description = "Packages whose programs the agent finds on PATH, beside bash, coreutils, git and the like.";
    };

    allowedHosts = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [
        "api.anthropic.com"
        "*.openai.azure.com"
      ];
      description = ''
        Names of hosts that the server and the commands of the agent may reach over HTTPS (port 443) and HTTP. A filtering
        proxy (tinyproxy, its own unit) connects to them: the kernel can filter addresses only, and those of a provider
        change. `*.` at the start stands for any name below. Programs that do not follow `HTTPS_PROXY` reach nothing.
      '';
    };

    allowedAddresses = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [
        "192.0.2.7"
        "10.0.0.0/8"
      ];
      description = ''
        Addresses and networks that the server and the commands of the agent may reach directly (systemd's
        `IPAddressAllow`). Loopback is always allowed; everything else is not. Not names: see `allowedHosts`.
      '';
    };

    proxyPort = mkOption {
      type = types.port;
      default = 4098;
      example = 8898;
      description = "TCP port on loopback of the filtering proxy, which runs where `allowedHosts` names any.";
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.passwordFile != null;
        message = "${here}.passwordFile is not set, and without a password everybody on this machine could run commands as the server; write one to a file that root alone can read, and set ${here}.passwordFile = \"/run/secrets/opencode-password\" to its path";
      }
      {
        assertion = isLoopback cfg.hostname;
        message = "${here}.hostname: \"${cfg.hostname}\" is not a loopback address, and OpenCode speaks HTTP without TLS; set ${here}.hostname = \"127.0.0.1\" and let a reverse proxy with TLS, or `ssh -L`, lead there";
      }
      {
        assertion = notAddresses == [ ];
        message = "${here}.allowedAddresses: ${list notAddresses} is not an IP address or network, and systemd filters nothing else; name hosts in ${here}.allowedHosts instead";
      }
      {
        assertion = notHosts == [ ];
        message = "${here}.allowedHosts: ${list notHosts} is not the name of a host (\"api.anthropic.com\", \"*.openai.azure.com\"; no https://, no port); give addresses to ${here}.allowedAddresses instead";
      }
      {
        assertion = !filtered || cfg.proxyPort != cfg.port;
        message = "${here}.proxyPort and ${here}.port are both ${toString cfg.port}; set ${here}.proxyPort to another one";
      }
    ]
    ++ map
      (option: {
        assertion =
          cfg.${option} == null || !lib.hasPrefix "${builtins.storeDir}/" (toString cfg.${option});
        message = "${here}.${option}: ${toString cfg.${option}} is in the Nix store, which everybody can read; set ${here}.${option} to the path of a file outside, in quotes (\"/run/secrets/opencode\")";
      })
      [
        "passwordFile"
        "environmentFile"
      ];

    systemd.services.opencode-cache = {
      description = "OpenCode server";
      wantedBy = [ "multi-user.target" ];
      after = [ "network.target" ] ++ lib.optional filtered "opencode-cache-egress.service";
      wants = lib.optional filtered "opencode-cache-egress.service";
      restartTriggers = lib.optional (
        programs.finalSettings != { }
      ) config.environment.etc."opencode/opencode.json".source;
      path = [
        pkgs.bash
        pkgs.git
      ]
      ++ cfg.path;

      environment = {
        HOME = state;
        XDG_CACHE_HOME = "/var/cache/opencode-cache";
        XDG_CONFIG_HOME = "${state}/config";
        XDG_DATA_HOME = "${state}/data";
        XDG_STATE_HOME = "${state}/state";
        # A user made by DynamicUser has nologin, and OpenCode runs commands with $SHELL.
        SHELL = lib.getExe pkgs.bash;
        OPENCODE_SERVER_USERNAME = cfg.username;
      }
      # Whose files they are is not who the server is; git would refuse them.
      // lib.optionalAttrs (cfg.workingDirectory != null) {
        GIT_CONFIG_COUNT = "1";
        GIT_CONFIG_KEY_0 = "safe.directory";
        GIT_CONFIG_VALUE_0 = workingDirectory;
      }
      // proxyVariables
      // lib.optionalAttrs (cfg.settings != { }) {
        OPENCODE_CONFIG = "${(pkgs.formats.json { }).generate "opencode-server.json" (
          { "$schema" = "https://opencode.ai/config.json"; } // cfg.settings
        )}";
      }
      // cfg.environment;

      # OpenCode takes the password from the environment, and goes on without one where that is empty.
      script = ''
        OPENCODE_SERVER_PASSWORD=$(cat "$CREDENTIALS_DIRECTORY/password")
        if [ -z "$OPENCODE_SERVER_PASSWORD" ]; then
          echo "${here}.passwordFile is empty; write a password into it" >&2
          exit 1
        fi
        export OPENCODE_SERVER_PASSWORD
        exec ${lib.getExe programs.finalPackage} serve --hostname ${lib.escapeShellArg cfg.hostname} --port ${toString cfg.port}
      '';

      serviceConfig =
        hardening
        // {
          StateDirectory = [
            "opencode-cache"
            "opencode-cache/work"
          ];
          StateDirectoryMode = "0700";
          CacheDirectory = "opencode-cache";
          CacheDirectoryMode = "0700";
          WorkingDirectory = workingDirectory;
          ProtectHome = if hidden then "tmpfs" else true;
          LoadCredential = "password:${toString cfg.passwordFile}";
          SupplementaryGroups = cfg.supplementaryGroups;

          IPAddressDeny = "any";
          IPAddressAllow = [ "localhost" ] ++ cfg.allowedAddresses;
          # Netlink: Node's networkInterfaces().
          RestrictAddressFamilies = [
            "AF_UNIX"
            "AF_INET"
            "AF_INET6"
            "AF_NETLINK"
          ];
          # Bun's JIT compiles JavaScript into memory that is both writable and executable.
          MemoryDenyWriteExecute = false;
          # Bun lowers the priority of threads (@resources) and hands files over with fchown (@chown).
          SystemCallFilter = [
            "@system-service"
            "~@privileged"
            "@chown"
          ];
          SystemCallErrorNumber = "EPERM";
        }
        // lib.optionalAttrs (cfg.workingDirectory != null) (
          # In an empty /home nothing is there that could be made writable.
          (if hidden then { BindPaths = [ workingDirectory ]; } else { ReadWritePaths = [ workingDirectory ]; })
          // {
            UMask = "0007";
          }
        )
        // lib.optionalAttrs (cfg.environmentFile != null) { EnvironmentFile = toString cfg.environmentFile; };
    };

    systemd.services.opencode-cache-egress = lib.mkIf filtered {
      description = "What the OpenCode server may reach";
      after = [ "network.target" ];
      serviceConfig = hardening // {
        ExecStart = "${lib.getExe' pkgs.tinyproxy "tinyproxy"} -d -c ${filterConfig}";
        ProtectHome = true;
        ProcSubset = "pid";
        MemoryDenyWriteExecute = true;
        RestrictAddressFamilies = [
          "AF_UNIX"
          "AF_INET"
          "AF_INET6"
        ];
        SystemCallFilter = [
          "@system-service"
          "~@privileged"
        ];
      };
    };
  };
}
