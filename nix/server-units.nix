/**
  The units of `services.opencode-cache`: the server, and with server-network.nix the ways into its network and out.

  # Type

  ```
  serverUnits :: { config, lib, pkgs } -> { services, sockets, tmpfiles }
  ```
*/
{
  config,
  lib,
  pkgs,
}:
let
  cfg = config.services.opencode-cache;
  programs = config.programs.opencode-cache;
  here = "services.opencode-cache";

  state = "/var/lib/opencode-cache";
  hasDirectory = cfg.workingDirectory != null;
  workingDirectory = if hasDirectory then cfg.workingDirectory else "${state}/work";
  hidden = lib.any (place: lib.hasPrefix "${place}/" "${workingDirectory}/") [
    "/home"
    "/root"
    "/run/user"
  ];
  # What all of the units share.
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
  network = import ./server-network.nix {
    inherit
      lib
      pkgs
      cfg
      hardening
      ;
  };

  # OpenCode's configuration directory, read-only: commands of the agent put no plugin there. OpenCode ends with an
  # error on a file system that is read-only, unless .gitignore is there, and asks npm for the plugin API, unless that
  # is (src/config/config.ts, 1.18).
  configuration = pkgs.runCommand "opencode-cache-server-config" { } ''
    mkdir -p $out/opencode
    printf 'node_modules\npackage.json\npackage-lock.json\nbun.lock\n.gitignore\n' >$out/opencode/.gitignore
    for name in node_modules package-lock.json; do
      if [ -e ${cfg.package.cache or "/nowhere"}/config/$name ]; then
        ln -s ${cfg.package.cache or "/nowhere"}/config/$name $out/opencode/$name
      fi
    done
  '';

  server = {
    description = "OpenCode server";
    wantedBy = [ "multi-user.target" ];
    after = [ "network.target" ] ++ network.needs;
    wants = network.needs;
    unitConfig = network.joins;
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
      XDG_CONFIG_HOME = "${configuration}";
      XDG_DATA_HOME = "${state}/data";
      XDG_STATE_HOME = "${state}/state";
      # A user made by DynamicUser has nologin, and OpenCode runs commands with $SHELL.
      SHELL = lib.getExe pkgs.bash;
      OPENCODE_SERVER_USERNAME = cfg.username;
    }
    # Whose files they are is not who the server is; git would refuse them.
    // lib.optionalAttrs hasDirectory {
      GIT_CONFIG_COUNT = "1";
      GIT_CONFIG_KEY_0 = "safe.directory";
      GIT_CONFIG_VALUE_0 = workingDirectory;
    }
    // network.variables
    // lib.optionalAttrs (cfg.settings != { }) {
      OPENCODE_CONFIG = "${(pkgs.formats.json { }).generate "opencode-server.json" (
        { "$schema" = "https://opencode.ai/config.json"; } // cfg.settings
      )}";
    }
    // cfg.environment;

    # OpenCode takes the password from the environment, and goes on without one where that is empty. It also loads
    # plugins from ~/.opencode, where commands of the agent can write.
    script = ''
      OPENCODE_SERVER_PASSWORD=$(cat "$CREDENTIALS_DIRECTORY/password")
      if [ -z "$OPENCODE_SERVER_PASSWORD" ]; then
        echo "${here}.passwordFile is empty; write a password into it" >&2
        exit 1
      fi
      export OPENCODE_SERVER_PASSWORD
      if [ -e ${state}/.opencode ] || [ -L ${state}/.opencode ]; then
        echo "${state}/.opencode is not read, since the agent can write it; it is now .opencode.unread" >&2
        rm -rf ${state}/.opencode.unread
        mv ${state}/.opencode ${state}/.opencode.unread
      fi
      exec ${lib.getExe cfg.package} serve --hostname ${lib.escapeShellArg network.hostname} --port ${toString cfg.port}
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
        MemoryMax = cfg.memoryMax;
        TasksMax = cfg.tasksMax;

        PrivateNetwork = network.isPrivate;
        IPAddressDeny = "any";
        IPAddressAllow = [ "localhost" ] ++ cfg.allowedAddresses;
        # The system's bus, systemd itself, and what would look up names for it in the machine's network.
        InaccessiblePaths = [
          "-/run/dbus"
          "-/run/nscd"
          "-/run/systemd/private"
          "-/run/systemd/resolve"
          "-/run/systemd/userdb"
        ];
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
      // lib.optionalAttrs hasDirectory (
        # In an empty /home nothing is there that could be made writable.
        (if hidden then { BindPaths = [ workingDirectory ]; } else { ReadWritePaths = [ workingDirectory ]; })
        // {
          UMask = "0007";
        }
      )
      // lib.optionalAttrs (cfg.umask != null) { UMask = cfg.umask; }
      // lib.optionalAttrs (cfg.user != null) {
        DynamicUser = false;
        User = cfg.user;
      }
      // lib.optionalAttrs (cfg.group != null) { Group = cfg.group; }
      // lib.optionalAttrs (cfg.environmentFile != null) { EnvironmentFile = toString cfg.environmentFile; };
  };
in
{
  inherit (network) sockets;

  services = network.services // {
    opencode-cache = server;
  };

  tmpfiles.rules = lib.optional (hasDirectory && !hidden) (
    # ":": for a directory that is made now, and not for one that is there.
    if cfg.user != null then
      "d ${workingDirectory} :0750 :${cfg.user} :${if cfg.group == null then "-" else cfg.group} -"
    else
      "d ${workingDirectory} :2770 :root :${lib.head (cfg.supplementaryGroups ++ [ "root" ])} -"
  );
}
