"""Signing SHA256SUMS, and asking whether somebody trusted did: with OpenSSH, or with minisign.

By hand: `ssh-keygen -Y verify -f TRUSTED -I NAME -n opencode-cache-bundle -s SHA256SUMS.sig <SHA256SUMS`, or
`minisign -V -p TRUSTED -x SHA256SUMS.sig -m SHA256SUMS`, which has to say `opencode-cache-bundle`. Which of
the two it is, the files say themselves. Ed25519 keys, and minisign's, make the same signature each time, so
that a signed bundle is reproducible as well.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from opencode_cache.base import console
from opencode_cache.base.errors import BadInputError

NAMESPACE = "opencode-cache-bundle"
"""A signature made for anything else, such as a git commit, does not count."""
_MINISIGN = b"untrusted comment:"
"""How minisign's keys and signatures begin."""
_FROM = {"ssh-keygen": "OpenSSH's client", "minisign": "minisign"}
_TIMEOUT = 600
"""Seconds: somebody may have to type a passphrase or to touch a key."""


def sign(text: bytes, key: Path) -> bytes:
    """The signature of `text`, armoured. Raises BadInputError where the key cannot sign."""
    minisign = _is_minisigns(
        key, f"{key}: is no file; give a private key made by `ssh-keygen -t ed25519`, or minisign's"
    )
    with tempfile.TemporaryDirectory() as directory:
        document = Path(directory) / "SHA256SUMS"
        document.write_bytes(text)
        made = document.with_name("SHA256SUMS.sig")
        if minisign:
            console.step(f"{key}: minisign signs; if the key has a password, type it now")
            words = ["minisign", "-S", "-s", str(key), "-t", NAMESPACE, "-x", str(made), "-m", str(document)]
            done = _run(words, stdin=None)
        else:
            done = _run(["ssh-keygen", "-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(document)])
        if done.returncode or not made.is_file():
            raise BadInputError(f"{key}: cannot sign ({_said(done)}); give another --sign-key")
        return made.read_bytes()


def check(text: bytes, signature: bytes, trusted: Path, file: Path) -> str:
    """Who of `trusted`, an allowed_signers file (ssh-keygen(1)) or minisign's public key, signed `text`.

    Raises BadInputError, about `file`, where nobody of them did.
    """
    minisign = _is_minisigns(
        trusted,
        f"{trusted}: is no file; write lines like `NAME ssh-ed25519 AAAA…` there, give minisign's public "
        "key, or leave --trusted out",
    )
    if minisign != signature.startswith(_MINISIGN):
        name, why = "", f"it is one of {'OpenSSH' if minisign else 'minisign'}'s"
    else:
        name, why = (_minisigns if minisign else _opensshs)(text, signature, trusted)
    if name:
        return name
    raise BadInputError(
        f"{file}: the signature is nobody's in {trusted} ({why}); get a bundle that they signed"
    )


def _is_minisigns(file: Path, missing: str) -> bool:
    try:
        return file.read_bytes().startswith(_MINISIGN)
    except OSError as error:
        raise BadInputError(
            missing if not file.is_file() else f"{file}: cannot be read ({error.strerror})"
        ) from error


def _minisigns(text: bytes, signature: bytes, trusted: Path) -> tuple[str, str]:
    """Who signed, or the empty string and why nobody did."""
    with tempfile.TemporaryDirectory() as directory:
        document = Path(directory) / "SHA256SUMS"
        document.write_bytes(text)
        beside = document.with_name("SHA256SUMS.sig")
        beside.write_bytes(signature)
        words = ["minisign", "-V", "-Q", "-p", str(trusted), "-x", str(beside), "-m", str(document)]
        done = _run(words)
    if done.returncode:
        return "", _said(done)
    if done.stdout.decode(errors="replace").strip() != NAMESPACE:
        return "", "it was made for something else"
    return f"the key {trusted}", ""


def _opensshs(text: bytes, signature: bytes, trusted: Path) -> tuple[str, str]:
    """Who signed, or the empty string and why nobody did."""
    with tempfile.TemporaryDirectory() as directory:
        beside = Path(directory) / "SHA256SUMS.sig"
        beside.write_bytes(signature)
        asked = ["-f", str(trusted), "-s", str(beside)]
        found = _run(["ssh-keygen", "-Y", "find-principals", *asked])
        names = found.stdout.decode(errors="replace").split("\n")[0] if found.returncode == 0 else ""
        # A line may name several; each of them is that key.
        name = names.split(",")[0]
        if not name:
            return "", "the key that made it is not there"
        done = _run(["ssh-keygen", "-Y", "verify", *asked, "-I", name, "-n", NAMESPACE], text)
        return ("", _said(done)) if done.returncode else (name, "")


def _run(words: list[str], stdin: bytes | None = b"") -> subprocess.CompletedProcess[bytes]:
    """Run one of the two programs; `stdin` None is the user's own."""
    try:
        return subprocess.run(words, input=stdin, capture_output=True, check=False, timeout=_TIMEOUT)
    except FileNotFoundError as error:
        raise BadInputError(
            f"{words[0]} is not on PATH, and this signature is its business; install {_FROM[words[0]]}"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise BadInputError(f"{words[0]} did not answer within {_TIMEOUT} seconds; try again") from error


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else f"it ended with {done.returncode}"
