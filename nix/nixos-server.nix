# `services.opencode-cache`: `opencode serve` as a unit that has no more than it needs.
#
# Its package and its managed configuration are those of `programs.opencode-cache`. The units are in server-units.nix.
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

  matches = pattern: text: builtins.match pattern text != null;
  isLoopback = matches "localhost|::1|127\\.[0-9]+\\.[0-9]+\\.[0-9]+";
  isAddress = matches "([0-9]{1,3}\\.){3}[0-9]{1,3}(/[0-9]{1,2})?|[0-9a-fA-F]*:[0-9a-fA-F:.]*(/[0-9]{1,3})?";
  isHost =
    text:
    matches "(\\*\\.)?([a-zA-Z0-9-]+\\.)*[a-zA-Z0-9-]+(:[0-9]{1,5})?" text
    && !isAddress (lib.head (lib.splitString ":" text));
  list = lib.concatStringsSep ", ";
  notAddresses = lib.filter (text: !isAddress text) cfg.allowedAddresses;
  notHosts = lib.filter (text: !isHost text) cfg.allowedHosts;

  filtered = cfg.allowedHosts != [ ];
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

    package = mkOption {
      type = types.nullOr types.package;
      default = programs.finalPackage;
      defaultText = literalExpression "config.programs.opencode-cache.finalPackage";
      example = literalExpression "inputs.opencode-cache.packages.\${pkgs.stdenv.hostPlatform.system}.default";
      description = "The OpenCode that serves.";
    };

    user = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "opencode";
      description = ''
        User that the server is, which has to exist. `null`: one that systemd makes while the server runs (`DynamicUser`).
      '';
    };

    group = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "developers";
      description = "Group of `user`, which has to exist. `null`: that user's own.";
    };

    umask = mkOption {
      type = types.nullOr (types.strMatching "[0-7]{3,4}");
      default = null;
      example = "0027";
      description = ''
        Which rights the server's new files do not have. `null`: `0077`, or `0007` where `workingDirectory` is set, so that
        its group can write them.
      '';
    };

    memoryMax = mkOption {
      type = types.str;
      default = "4G";
      example = "16G";
      description = "Memory that the server and the commands of the agent may have together (`MemoryMax`).";
    };

    tasksMax = mkOption {
      type = types.ints.positive;
      default = 1024;
      example = 256;
      description = "How many processes and threads they may be (`TasksMax`).";
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
        Directory that the server works in, the only one beside its own that it can write. Where it is not there, it
        is made, of `user`, or of the first of `supplementaryGroups` and setgid; one that is there is left as it is, and
        one below a home is not made. `null`: `work` in the server's state directory, `/var/lib/opencode-cache`.
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
        "models.example.com:8443"
      ];
      description = ''
        Names of hosts that the server and the commands of the agent may reach over HTTPS, on port 443, or the one after
        `:`. A filtering proxy (tinyproxy, its own unit) connects to them: the kernel can filter addresses only, and those
        of a provider change. Programs that do not follow `HTTPS_PROXY` reach nothing. `*.` at the start stands for any
        name below; where anybody can have a name below, as with clouds, anybody's machine is then allowed.
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
        `IPAddressAllow`). With any, the server has no network of its own but the machine's, filtered: what listens on
        loopback of the machine it reaches as well. Not names: see `allowedHosts`.
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
        message = "${here}.allowedHosts: ${list notHosts} is not the name of a host (\"api.anthropic.com\", or \"models.example.com:8443\" for another port than 443; no https://); give addresses to ${here}.allowedAddresses instead";
      }
      {
        assertion = cfg.package != null;
        message = "${here}.package is null, as programs.opencode-cache.package is; set it to an OpenCode, as pkgs.opencode with its cache: config.programs.opencode-cache.finalPackage";
      }
      {
        assertion = cfg.workingDirectory == null || cfg.user != null || cfg.supplementaryGroups != [ ];
        message = "${here}.workingDirectory: a user that systemd makes for the server cannot write ${toString cfg.workingDirectory}; set ${here}.supplementaryGroups = [ \"developers\" ] to a group that can, or ${here}.user";
      }
      {
        assertion = cfg.group == null || cfg.user != null;
        message = "${here}.group is \"${toString cfg.group}\", and ${here}.user is not set; set ${here}.user as well, or ${here}.supplementaryGroups instead";
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

    systemd = import ./server-units.nix { inherit config lib pkgs; };
  };
}
