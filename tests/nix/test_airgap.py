"""From a machine with a network to one without: signed, carried as files, trusted by key, and run."""

from __future__ import annotations

import trees


def test_a_signed_closure_travels_as_files_and_runs(flake, machine, second, default, tmp_path):
    """A closure in another store is asked for its models in test_flake.py, after a copy by Nix itself."""
    version = flake.value("default", "p: p.version")
    secret = tmp_path / "secret"
    secret.write_text(machine.out("key", "generate-secret", "--key-name", "test-1"))
    key = machine.run(
        "sh", "-c", f"{trees.KEPT}/nix-{machine.suite}/bin/nix key convert-secret-to-public <{secret}"
    ).stdout.strip()
    carried = tmp_path / "carried"
    url = f"file://{carried}"
    machine.out("store", "sign", "--recursive", "--key-file", secret, default)
    machine.out("copy", "--to", f"{url}?compression=none", default)

    refused = second.nix("copy", "--from", url, default, check=False, offline=True)
    assert refused.returncode
    assert "lacks a signature by a trusted key" in refused.stderr
    assert not second.has(default)

    trusted = ["--option", "trusted-public-keys", key]
    second.nix("copy", "--from", url, *trusted, default, offline=True)
    said = second.run(f"{default}/bin/opencode", "--version", offline=True).stdout
    assert said.strip() == version
