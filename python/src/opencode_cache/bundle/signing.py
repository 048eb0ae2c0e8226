"""Signing SHA256SUMS, and asking whether somebody trusted did: with OpenSSH, which is on every machine.

By hand: `ssh-keygen -Y verify -f TRUSTED -I NAME -n opencode-cache-bundle -s SHA256SUMS.sig <SHA256SUMS`.
Ed25519 keys make the same signature each time, so that a signed bundle is reproducible as well.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from ..errors import BadInputError

NAMESPACE = "opencode-cache-bundle"
"""A signature made for anything else, such as a git commit, does not count."""
_TIMEOUT = 600
"""Seconds: somebody may have to type a passphrase or to touch a key."""


def sign(text: bytes, key: Path) -> bytes:
    """The signature of `text`, armoured. Raises BadInputError where the key cannot sign."""
    if not key.is_file():
        raise BadInputError(f"{key}: is no file; give a private key made by `ssh-keygen -t ed25519`")
    with tempfile.TemporaryDirectory() as directory:
        document = Path(directory) / "SHA256SUMS"
        document.write_bytes(text)
        done = _ssh_keygen(["-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(document)])
        made = document.with_name("SHA256SUMS.sig")
        if done.returncode or not made.is_file():
            raise BadInputError(f"{key}: cannot sign ({_said(done)}); give another --sign-key")
        return made.read_bytes()


def check(text: bytes, signature: bytes, trusted: Path, file: Path) -> str:
    """Who of `trusted`, an allowed_signers file (ssh-keygen(1)), signed `text`.

    Raises BadInputError, about `file`, where nobody of them did.
    """
    if not trusted.is_file():
        raise BadInputError(
            f"{trusted}: is no file; write lines like `NAME ssh-ed25519 AAAA…` there, or leave --trusted out"
        )
    with tempfile.TemporaryDirectory() as directory:
        beside = Path(directory) / "SHA256SUMS.sig"
        beside.write_bytes(signature)
        asked = ["-f", str(trusted), "-s", str(beside)]
        found = _ssh_keygen(["-Y", "find-principals", *asked])
        names = found.stdout.decode(errors="replace").split("\n")[0] if found.returncode == 0 else ""
        # A line may name several; each of them is that key.
        name = names.split(",")[0]
        if name:
            done = _ssh_keygen(["-Y", "verify", *asked, "-I", name, "-n", NAMESPACE], text)
            if done.returncode == 0:
                return name
            why = _said(done)
        else:
            why = "the key that made it is not there"
    raise BadInputError(
        f"{file}: the signature is nobody's in {trusted} ({why}); get a bundle that they signed"
    )


def _ssh_keygen(arguments: list[str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["ssh-keygen", *arguments], input=stdin, capture_output=True, check=False, timeout=_TIMEOUT
        )
    except FileNotFoundError as error:
        raise BadInputError(
            "ssh-keygen is not on PATH, and signatures are its business; install OpenSSH's client"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise BadInputError(f"ssh-keygen did not answer within {_TIMEOUT} seconds; try again") from error


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else f"ssh-keygen ended with {done.returncode}"
