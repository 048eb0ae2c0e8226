"""Signing SHA256SUMS, and asking whether somebody trusted did: with OpenSSH, or with minisign.

By hand: `ssh-keygen -Y verify -f TRUSTED -I NAME -n opencode-cache-bundle -s SHA256SUMS.sig <SHA256SUMS`, or
`minisign -V -p TRUSTED -x SHA256SUMS.sig -m SHA256SUMS`, which has to say `opencode-cache-bundle`. Which of
the two it is, the files say themselves. Ed25519 keys, and minisign's, make the same signature each time, so
that a signed bundle is reproducible as well.
"""

from __future__ import annotations

import base64
import binascii
import struct
import subprocess
from typing import TYPE_CHECKING

from opencode_cache.base import console, files
from opencode_cache.base.errors import BadInputError
from opencode_cache.ship.policy import shown

if TYPE_CHECKING:
    from pathlib import Path

NAMESPACE = "opencode-cache-bundle"
"""A signature made for anything else, such as a git commit, does not count."""
MAX_TRUSTED = 1 << 20
"""Longest file of keys, in bytes."""
_MINISIGN = b"untrusted comment:"
"""How minisign's keys and signatures begin."""
_FROM = {"ssh-keygen": "OpenSSH's client", "minisign": "minisign"}
_TIMEOUT = 600
"""Seconds: somebody may have to type a passphrase or to touch a key."""


def sign(text: bytes, key: Path, scratch: Path) -> bytes:
    """The signature of `text`, armoured, by way of the directory `scratch`.

    Raises BadInputError where the key cannot sign.
    """
    start = _read(
        key, f"{key}: is not a file; give a private key made by `ssh-keygen -t ed25519`, or minisign's"
    )
    document, signature = scratch / "SHA256SUMS", scratch / "SHA256SUMS.sig"
    document.write_bytes(text)
    if start.startswith(_MINISIGN):
        console.step(f"{key}: minisign signs; if the key has a password, type it now")
        words = ["minisign", "-S", "-s", str(key.absolute()), "-t", NAMESPACE, "-x", str(signature)]
        done = _run([*words, "-m", str(document)], scratch, stdin=None)
    else:
        words = ["ssh-keygen", "-Y", "sign", "-f", str(key.absolute()), "-n", NAMESPACE, str(document)]
        done = _run(words, scratch)
    if done.returncode or not signature.is_file():
        raise BadInputError(f"{key}: cannot sign ({_said(done)}); give another --sign-key")
    return signature.read_bytes()


def check(text: bytes, signature: bytes, trusted: Path, file: Path) -> str:
    """Who of `trusted`, an allowed_signers file (ssh-keygen(1)) or minisign's public key, signed `text`.

    The name can be shown as it is. Raises BadInputError, about `file`, where nobody of them did.
    """
    keys = _read(
        trusted,
        f"{trusted}: is not a file; write lines like `NAME ssh-ed25519 AAAA…` there, give minisign's public "
        "key, or leave --trusted out",
    )
    minisign = keys.startswith(_MINISIGN)
    if minisign != signature.startswith(_MINISIGN):
        name, why = "", f"it is one of {'OpenSSH' if minisign else 'minisign'}'s"
    else:
        with files.scratch() as scratch:
            name, why = (_minisigns if minisign else _opensshs)(text, signature, keys, scratch)
    if name:
        return f"the key {trusted}" if minisign else shown(name)
    raise BadInputError(
        f"{file}: signed with no key in {trusted} ({why}); get a bundle signed with one of them"
    )


def _read(file: Path, missing: str) -> bytes:
    try:
        if not file.is_file():
            raise BadInputError(missing)
        with file.open("rb") as opened:
            data = opened.read(MAX_TRUSTED + 1)
    except OSError as error:
        raise BadInputError(f"{file}: cannot be read ({error.strerror}); give another file") from error
    if len(data) > MAX_TRUSTED:
        raise BadInputError(
            f"{file}: is longer than {MAX_TRUSTED} bytes, and so no file of keys; give another"
        )
    return data


def _minisigns(text: bytes, signature: bytes, keys: bytes, scratch: Path) -> tuple[str, str]:
    """Who signed, or the empty string and why nobody did."""
    for name, data in (("text", text), ("sig", signature), ("key", keys)):
        (scratch / name).write_bytes(data)
    done = _run(["minisign", "-V", "-Q", "-p", "key", "-x", "sig", "-m", "text"], scratch)
    if done.returncode:
        return "", _said(done)
    if done.stdout.decode(errors="replace").strip() != NAMESPACE:
        return "", "it was made for something else"
    return "key", ""


def _opensshs(text: bytes, signature: bytes, keys: bytes, scratch: Path) -> tuple[str, str]:
    """Who signed, or the empty string and why nobody did.

    Line by line: for a key on several lines, `find-principals` names the first one's principals alone, which
    may be there for another namespace.
    """
    (scratch / "sig").write_bytes(signature)
    why = "the key that made it is not there"
    for line in keys.splitlines():
        if line.lstrip().startswith(b"#") or not (_key_of(signature) in line or b"cert-authority" in line):
            continue
        (scratch / "line").write_bytes(line + b"\n")
        principals = _run(["ssh-keygen", "-Y", "find-principals", "-f", "line", "-s", "sig"], scratch)
        if principals.returncode:
            continue
        for name in principals.stdout.decode(errors="surrogateescape").split("\n"):
            if name and not name.startswith(("!", "-")):  # a pattern that says who it is not
                words = ["ssh-keygen", "-Y", "verify", "-f", "line", "-s", "sig", "-I", name, "-n", NAMESPACE]
                done = _run(words, scratch, text)
                if done.returncode == 0:
                    return name, ""
                why = _said(done)
    return "", why


def _key_of(signature: bytes) -> bytes:
    """The public key in an armoured signature (OpenSSH's PROTOCOL.sshsig), as allowed_signers has it.

    A line that is nobody's where it is no signature.
    """
    try:
        blob = base64.b64decode(b"".join(signature.split(b"\n")[1:-2]))
        magic, _, length = struct.unpack_from(">6sII", blob)
    except (binascii.Error, struct.error):
        return b"\n"
    return base64.b64encode(blob[14 : 14 + length]) if magic == b"SSHSIG" and length else b"\n"


def _run(words: list[str], cwd: Path, stdin: bytes | None = b"") -> subprocess.CompletedProcess[bytes]:
    """Run one of the two programs; `stdin` None is the user's own."""
    try:
        return subprocess.run(words, input=stdin, capture_output=True, check=False, timeout=_TIMEOUT, cwd=cwd)
    except FileNotFoundError as error:
        raise BadInputError(
            f"{words[0]} is not on PATH, and this signature needs it; install {_FROM[words[0]]}"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise BadInputError(f"{words[0]} did not answer within {_TIMEOUT} seconds; try again") from error


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    return shown(lines[-1].strip()) if lines else f"it ended with {done.returncode}"
