/**
  The network of `services.opencode-cache`, and the units that lead into it and out of it.

  The server is in a network of its own, where there is nothing but itself and a way to the filtering proxy. A socket of
  the machine leads in, and a socket in there leads out, each through systemd's socket-proxyd:

  ```
  127.0.0.1:4096 (machine) ─ opencode-cache-in ─▶ 127.0.0.1:4096 (server's network)
  127.0.0.1:4098 (server's network) ─ opencode-cache-out ─▶ opencode-cache-egress ─▶ allowedHosts
  ```

  With `allowedAddresses` it is in the machine's network, of which systemd filters the addresses.

  # Type

  ```
  serverNetwork :: { lib, pkgs, cfg, hardening } -> { isPrivate, hostname, needs, joins, … }
  ```

  `cfg` is config.services.opencode-cache; `needs` are units that the server wants to be there before it; `joins` puts it
  into its network; `variables` lead its programs to the proxy; `hardening` is what all units share.
*/
{
  lib,
  pkgs,
  cfg,
  hardening,
}:
let
  filtered = cfg.allowedHosts != [ ];
  isPrivate = cfg.allowedAddresses == [ ];
  # A network is known by the unit that was first in it, and by no other.
  owner = if filtered then "opencode-cache-out.socket" else "opencode-cache.service";

  hostname = if cfg.hostname == "localhost" then "127.0.0.1" else cfg.hostname;
  listening = "${if lib.hasInfix ":" hostname then "[${hostname}]" else hostname}:${toString cfg.port}";
  proxyAddress = "127.0.0.1:${toString cfg.proxyPort}";
  proxy = "http://${proxyAddress}";
  # Not HTTP_PROXY: the proxy passes on what is encrypted from end to end, and nothing else.
  variables = lib.optionalAttrs filtered {
    HTTPS_PROXY = proxy;
    https_proxy = proxy;
    NO_PROXY = "localhost,127.0.0.1,::1";
    no_proxy = "localhost,127.0.0.1,::1";
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
in
{
  inherit hostname isPrivate variables;
  joins = lib.optionalAttrs (isPrivate && filtered) { JoinsNamespaceOf = owner; };
  needs = lib.optional filtered (
    if isPrivate then "opencode-cache-out.socket" else "opencode-cache-egress.service"
  );

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
    unitConfig.JoinsNamespaceOf = owner;
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
  # It makes the server's network and is bound in there (systemd.exec, PrivateNetwork= of a socket).
  sockets.opencode-cache-out = lib.mkIf (isPrivate && filtered) {
    description = "The way out of the OpenCode server's network";
    socketConfig = {
      ListenStream = proxyAddress;
      PrivateNetwork = true;
      # Units that share a network share /tmp as well, and the first one makes both.
      PrivateTmp = true;
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
}
