/**
  The units of `services.opencode-cache`.

  The server is in a network of its own, where there is nothing but itself and a way to the filtering proxy. A socket of
  the machine leads in, and a socket in there leads out, each through systemd's socket-proxyd:

  ```
  127.0.0.1:4096 (machine) ─ opencode-cache-in ─▶ 127.0.0.1:4096 (server's network)
  127.0.0.1:4098 (server's network) ─ opencode-cache-out ─▶ opencode-cache-egress ─▶ allowedHosts
  ```

  With `allowedAddresses` it is in the machine's network, of which systemd filters the addresses.

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
  filtered = cfg.allowedHosts != [ ];
  isPrivate = cfg.allowedAddresses == [ ];

  hostname = if cfg.hostname == "localhost" then "127.0.0.1" else cfg.hostname;
  listening = "${if lib.hasInfix ":" hostname then "[${hostname}]" else hostname}:${toString cfg.port}";
  proxyAddress = "127.0.0.1:${toString cfg.proxyPort}";
  proxy = "http://${proxyAddress}";
  # Not HTTP_PROXY: the proxy passes on what is encrypted from end to end, and nothing else.
  proxyVariables = lib.optionalAttrs filtered {
    HTTPS_PROXY = proxy;
    https_proxy = proxy;
    NO_PROXY = "localhost,127.0.0.1,::1";
    no_proxy = "localhost,127.0.0.1,::1";
  };

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
  # Of the units that carry bytes from one socket to another.
  carrying = hardening // {
    ProtectHome = true;
    ProcSubset = "pid";
    MemoryDenyWriteExecute = true;
    MemoryMax = "256M";
    TasksMax = 64;
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
  carry = to: "${pkgs.systemd}/lib/systemd/systemd-socket-proxyd ${to}";

  # A host's name and the port after it, which is 443 where none is said.
  partsOf = host: lib.splitString ":" host;
  portOf = host: if lib.length (partsOf host) > 1 then lib.last (partsOf host) else "443";
  pattern =
    host:
    let
      name = lib.head (partsOf host);
      escaped = lib.replaceStrings [ "." ] [ "\\." ];
      names =
        if lib.hasPrefix "*." name then ".+\\.${escaped (lib.removePrefix "*." name)}" else escaped name;
    in
    "^${names}:${portOf host}$";
  filter = pkgs.writeText "opencode-cache-hosts" (
    lib.concatMapStrings (host: "${pattern host}\n") cfg.allowedHosts
  );
  # With FilterURLs, what is filtered is NAME:PORT of a CONNECT, and all of http://…, which then matches nothing.
  filterConfig = pkgs.writeText "opencode-cache-egress.conf" ''
    Port ${toString cfg.proxyPort}
    Listen 127.0.0.1
    Allow 127.0.0.1
    ${lib.concatMapStringsSep "\n" (port: "ConnectPort ${port}") (
      lib.unique (map portOf cfg.allowedHosts)
    )}
    Filter "${filter}"
    FilterURLs Yes
    FilterDefaultDeny Yes
    FilterType ere
    DisableViaHeader Yes
    LogLevel Notice
  '';
  # A name that is allowed may be given such an address by whoever has the name.
  inside = [
    "link-local"
    "multicast"
    "10.0.0.0/8"
    "100.64.0.0/10"
    "172.16.0.0/12"
    "192.168.0.0/16"
    "fc00::/7"
  ];

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
in
{
  services.opencode-cache = {
    description = "OpenCode server";
    wantedBy = [ "multi-user.target" ];
    after = [
      "network.target"
    ]
    ++ lib.optional filtered (
      if isPrivate then "opencode-cache-out.socket" else "opencode-cache-egress.service"
    );
    wants = lib.optional filtered (
      if isPrivate then "opencode-cache-out.socket" else "opencode-cache-egress.service"
    );
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
    // proxyVariables
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
      exec ${lib.getExe cfg.package} serve --hostname ${lib.escapeShellArg hostname} --port ${toString cfg.port}
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

        PrivateNetwork = isPrivate;
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

  services.opencode-cache-in = lib.mkIf isPrivate {
    description = "The way to the OpenCode server";
    requires = [
      "opencode-cache.service"
      "opencode-cache-in.socket"
    ];
    after = [
      "opencode-cache.service"
      "opencode-cache-in.socket"
    ];
    unitConfig.JoinsNamespaceOf = "opencode-cache.service";
    serviceConfig = carrying // {
      ExecStart = carry listening;
      PrivateNetwork = true;
    };
  };
  sockets.opencode-cache-in = lib.mkIf isPrivate {
    description = "The way to the OpenCode server";
    wantedBy = [ "sockets.target" ];
    socketConfig.ListenStream = listening;
  };

  services.opencode-cache-out = lib.mkIf (isPrivate && filtered) {
    description = "The way out of the OpenCode server's network";
    requires = [
      "opencode-cache-egress.service"
      "opencode-cache-out.socket"
    ];
    after = [
      "opencode-cache-egress.service"
      "opencode-cache-out.socket"
    ];
    serviceConfig = carrying // {
      ExecStart = carry proxyAddress;
      IPAddressDeny = "any";
      IPAddressAllow = [ "localhost" ];
    };
  };
  # Bound in the server's network, since it has one of that name (systemd.exec, PrivateNetwork= of a socket).
  sockets.opencode-cache-out = lib.mkIf (isPrivate && filtered) {
    description = "The way out of the OpenCode server's network";
    unitConfig.JoinsNamespaceOf = "opencode-cache.service";
    socketConfig = {
      ListenStream = proxyAddress;
      PrivateNetwork = true;
    };
  };

  services.opencode-cache-egress = lib.mkIf filtered {
    description = "What the OpenCode server may reach";
    after = [ "network.target" ];
    serviceConfig = carrying // {
      ExecStart = "${lib.getExe' pkgs.tinyproxy "tinyproxy"} -d -c ${filterConfig}";
      IPAddressDeny = inside;
      IPAddressAllow = [ "localhost" ] ++ cfg.allowedAddresses;
    };
  };

  tmpfiles.rules = lib.optional (hasDirectory && !hidden) (
    # ":": for a directory that is made now, and not for one that is there.
    if cfg.user != null then
      "d ${workingDirectory} :0750 :${cfg.user} :${if cfg.group == null then "-" else cfg.group} -"
    else
      "d ${workingDirectory} :2770 :root :${lib.head (cfg.supplementaryGroups ++ [ "root" ])} -"
  );
}
