# nixosTest : { pkgs, module } -> the NixOS module on a virtual machine, which has no network but its own.
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
        allowedAddresses = [ "192.0.2.0/24" ];
      };
      environment.systemPackages = [ pkgs.jq ];
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
        allowed = machine.succeed("systemctl show -P IPAddressAllow opencode-cache.service")
        assert "192.0.2.0/24" in allowed and "127.0.0.0/8" in allowed, allowed
        assert "0.0.0.0/0" in machine.succeed("systemctl show -P IPAddressDeny opencode-cache.service")
        machine.wait_for_unit("opencode-cache-egress.service")
        machine.wait_for_open_port(4098)
        proxied = "curl -s -o /dev/null -w '%{http_connect}' -x http://127.0.0.1:4098"
        # 403: refused; the other one is let through, and has no address here.
        assert machine.execute(f"{proxied} https://example.org")[1] == "403"
        assert machine.execute(f"{proxied} https://api.example.com")[1] != "403"

    with subtest("users have it as well, without a network"):
        machine.succeed("su -s /bin/sh -c 'HOME=/tmp/home opencode models | grep -q /' nobody")
  '';
}
