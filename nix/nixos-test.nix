/**
  The NixOS module on a virtual machine, which has no network but its own.

  # Type

  ```
  nixosTest :: { pkgs, module } -> derivation
  ```
*/
{ pkgs, module }:
pkgs.testers.runNixOSTest {
  name = "opencode-cache";

  nodes.machine =
    { pkgs, ... }:
    {
      imports = [ module ];
      virtualisation.memorySize = 2048;
      users.groups.developers = { };
      systemd.tmpfiles.rules = [ "d /srv/project 2770 root developers" ];
      # As a secret manager would put it there. Of a test, so everybody may know it.
      environment.etc."opencode-password" = {
        text = "correct horse";
        mode = "0400";
      };

      programs.opencode-cache = {
        enable = true;
        settings.share = "disabled";
      };
      services.opencode-cache = {
        enable = true;
        passwordFile = "/etc/opencode-password";
        workingDirectory = "/srv/project";
        supplementaryGroups = [ "developers" ];
        allowedHosts = [ "api.example.com" ];
        path = [ pkgs.curl ];
      };
      environment.systemPackages = [
        pkgs.jq
        pkgs.python3
      ];
    };

  testScript = ''
    import json

    server = "http://127.0.0.1:4096"
    machine.wait_for_unit("opencode-cache.service")
    machine.wait_for_open_port(4096)

    def status(*options, path="/config"):
        return machine.succeed(f"curl -s -o /dev/null -w '%{{http_code}}' {' '.join(options)} {server}{path}")

    def ask(path, body=None):
        data = f"-H 'content-type: application/json' -d {json.dumps(json.dumps(body))}" if body is not None else ""
        return json.loads(machine.succeed(f"curl -sf -u 'opencode:correct horse' {data} {server}{path}"))

    def shell(command):
        session = ask("/session", {})["id"]
        return json.dumps(ask(f"/session/{session}/shell", {"agent": "build", "command": command}))

    with subtest("a password is asked for"):
        assert status() == "401"
        assert status("-u opencode:wrong") == "401"
        assert status("-u 'opencode:correct horse'") == "200"

    with subtest("loopback only"):
        assert "0.0.0.0:4096" not in machine.succeed("ss -ltn")

    with subtest("the machine's configuration and its working directory"):
        assert ask("/config")["share"] == "disabled"
        assert ask("/path")["directory"] == "/srv/project"

    with subtest("commands of the agent: a shell, the project, and nothing else to write"):
        assert "wor-ked" in shell("printf %s-%s wor ked")
        shell("touch /srv/project/made")
        machine.succeed("test -f /srv/project/made")
        shell("touch /var/tmp/../lib/outside; touch /etc/outside")
        machine.fail("test -e /var/lib/outside -o -e /etc/outside")

    with subtest("what may be reached"):
        assert machine.succeed("systemctl show -P PrivateNetwork opencode-cache.service").strip() == "yes"
        machine.wait_for_unit("opencode-cache-egress.service")
        machine.wait_for_open_port(4098)
        # From in there, through the socket that leads out. 403: refused; the other one has no address here.
        proxied = "curl -s -o /dev/null -w 'got-%{http_connect}'"
        assert "got-403" in shell(f"{proxied} https://example.org")
        assert "got-403" not in shell(f"{proxied} https://api.example.com")
        machine.succeed("systemd-run --unit other python3 -m http.server 8000 --bind 127.0.0.1")
        machine.wait_for_open_port(8000)
        assert "got-200" not in shell("curl -s -o /dev/null -w 'got-%{http_code}' http://127.0.0.1:8000")

    with subtest("its configuration is read-only, and the system's bus is not there"):
        shell("touch $XDG_CONFIG_HOME/opencode/planted && touch /srv/project/planted")
        machine.fail("test -e /srv/project/planted")
        shell("ls /run/dbus && touch /srv/project/bus")
        machine.fail("test -e /srv/project/bus")

    with subtest("users have it as well, without a network"):
        machine.succeed("su -s /bin/sh -c 'HOME=/tmp/home opencode models | grep -q /' nobody")
  '';
}
