"""Debian packages, with everything that they need, unpacked into a directory: no installation, no root.

Only `apt-get` (for the index, the choice of versions and the signatures) and `dpkg-deb` are used, with a
state of their own, so that the machine's apt is not touched. Maintainer scripts do not run. The mirror is
the machine's own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

_NEEDED_BY_SCRIPTS_ONLY = re.compile(
    r"perl(-.*)?|libperl.*|lib.*-perl|debconf|libdebconf.*|debianutils|base-passwd|base-files|passwd|login.*"
    r"|libpam.*|libaudit.*|libsemanage.*|libsepol.*|readline-common|gcc-.*-base|libdb5.*|libgdbm.*|media-types"
    r"|netbase|tzdata|adduser|install-info|init-system-helpers|mailcap"
)
"""Dependencies of maintainer scripts: the programs do without."""

_OF_NO_USE = ("doc", "man", "locale", "lintian", "info", "bug", "menu", "bash-completion", "zsh", "fish")


class CannotError(Exception):
    """Why Debian packages cannot be had here, as a sentence."""


def why_not() -> str:
    """Why this machine cannot do it; empty where it can."""
    for program in ("apt-get", "dpkg-deb"):
        if not shutil.which(program):
            return f"needs Debian's {program}, which is not on PATH"
    if not KEYRING.is_file():
        return f"needs the package debian-archive-keyring ({KEYRING})"
    return ""


def unpack(
    suite: str, packages: list[str], to: Path, kept: Path, architecture: str = "amd64"
) -> dict[str, str]:
    """Unpack `packages` and their closure from a suite into `to`; returns package -> version.

    `kept` keeps downloads between runs. `to` has Debian's merged /usr: bin, lib and lib64 are links.
    Raises CannotError.
    """
    kept.mkdir(parents=True, exist_ok=True)
    (kept / "partial").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as state:
        apt = _apt(suite, Path(state), kept, architecture)
        _run([*apt, "update"], kept)
        plan = _run([*apt, "--simulate", "install", *packages], kept)
        found = dict(re.findall(r"^Inst (\S+) \((\S+) ", plan, re.MULTILINE))
        wanted = {name: found[name] for name in sorted(found) if not _NEEDED_BY_SCRIPTS_ONLY.fullmatch(name)}
        _run([*apt, "download", *(f"{name}={version}" for name, version in wanted.items())], kept)
    for name in ("bin", "sbin", "lib", "lib64"):
        (to / "usr" / name).mkdir(parents=True, exist_ok=True)
        (to / name).symlink_to(f"usr/{name}")
    for name, version in wanted.items():
        (archive,) = [
            path
            for one in (architecture, "all")
            for path in kept.glob(f"{name}_{version.replace(':', '%3a')}_{one}.deb")
        ]
        _unpack_one(archive, to)
    for name in _OF_NO_USE:
        shutil.rmtree(to / "usr" / "share" / name, ignore_errors=True)
    for path in to.iterdir():
        if path.name != "usr" and not path.is_symlink():
            shutil.rmtree(path)
    return wanted


def _unpack_one(archive: Path, to: Path) -> None:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE) as reader:
        # Packages that still ship /lib/… must follow our link, not replace it.
        done = subprocess.run(
            ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", to],
            stdin=reader.stdout,
            capture_output=True,
            text=True,
            check=False,
        )
    if reader.returncode or done.returncode:
        raise CannotError(
            f"{archive}: cannot be unpacked ({done.stderr.strip()[-200:]}); delete it and try again"
        )


def _apt(suite: str, state: Path, kept: Path, architecture: str) -> list[str]:
    indexes = _run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages"],
        kept,
    )
    sites = [line.split()[0] for line in indexes.splitlines() if re.search(r"/debian/? \S+ main$", line)]
    if not sites:
        raise CannotError("needs a Debian mirror in apt's sources, and there is none")
    for name in ("lists/partial", "cache", "etc"):
        (state / name).mkdir(parents=True)
    (state / "status").touch()
    (state / "etc/sources.list").write_text(
        f"deb [arch={architecture} signed-by={KEYRING}] {sites[0]} {suite} main\n"
    )
    options = {
        "Dir::Etc": state / "etc",
        "Dir::Etc::sourceparts": "-",
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "Dir::Cache::archives": kept,
        "APT::Architecture": architecture,
        "APT::Architectures::": architecture,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        "Debug::NoLocking": "1",
        "APT::Update::Post-Invoke::": "",
        "DPkg::Post-Invoke::": "",
    }
    return ["apt-get", "-q", "-y", *(f"-o{key}={value}" for key, value in options.items())]


def _run(command: list[str], cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing said"]
        raise CannotError(f"Debian's packages cannot be had here: {said[-1]}")
    return done.stdout
