"""The one place that says what becomes of an entry of the configuration, in one of four words.

*cached*: the cache has it, or a lock will. *bundled*: it is compiled into OpenCode. *not needed*: nothing has
to be fetched for it. *not covered*: something is missing, with the reason and what to do.
"""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from opencode_cache import layouts
from opencode_cache.base.errors import BadInputError
from opencode_cache.config import commands
from opencode_cache.config.entries import entries
from opencode_cache.config.offer import Judgement
from opencode_cache.formats import urls
from opencode_cache.npm import repository
from opencode_cache.npm import spec as npm_spec
from opencode_cache.npm.spec import public, split_spec
from opencode_cache.opencode import plugins, tools

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opencode_cache.config.commands import Fetched
    from opencode_cache.config.entries import Entry
    from opencode_cache.config.offer import Offer
    from opencode_cache.config.read import Configuration

_LOCAL = ("file:", ".", "/", "~")
PLAN = "run it without --plan, or add it to the plan"


def judge(configuration: Configuration, offer: Offer) -> list[Judgement]:
    """What becomes of everything that the configuration asks for."""
    second = offer.layout == "generations"
    return [judge_entry(entry, offer) for entry in entries(configuration, second=second)]


def judge_entry(entry: Entry, offer: Offer) -> Judgement:
    """What becomes of an entry."""
    if entry.off:
        return Judgement(entry, "not needed", entry.off)
    return _RULES[entry.kind](entry, offer)


def _lockable(entry: Entry, offer: Offer, key: str, specs: tuple[str, ...], *, there: bool) -> Judgement:
    plan = (key, specs)
    if offer.requests is None:
        return Judgement(entry, "cached", "will be locked", plan=plan)
    if there:
        return Judgement(entry, "cached", "is in the cache", plan=plan)
    fix = (
        f"{PLAN}: {key} = [{', '.join(repr(public(spec)) for spec in specs)}] (--{_OPTION.get(key, 'plan')})"
    )
    return Judgement(entry, "not covered", "is not in the cache", fix, plan)


_OPTION = {"plugins": "plugin", "extra_providers": "provider", "tools": "tool"}


def _plugin(entry: Entry, offer: Offer) -> Judgement:
    spec = entry.value
    if plugins.ignored(spec, offer.opencode):
        return Judgement(entry, "bundled", "OpenCode passes over it", plugins.TAKE_IT_OUT)
    if spec.startswith(_LOCAL):
        return _local(entry)
    refused = _with_secret(entry) or _unlockable(entry, offer)
    if refused:
        return refused
    other = plugins.renamed(spec)
    both = (spec, other) if other else (spec,)
    judgement = _lockable(
        entry, offer, "plugins", both, there=all(offer.has("plugin", each) for each in both)
    )
    if other:
        return Judgement(
            entry,
            judgement.word,
            judgement.reason,
            judgement.fix or plugins.other_name(spec) or "",
            judgement.plan,
            certain=judgement.certain,
        )
    return judgement


def _unlockable(entry: Entry, offer: Offer) -> Judgement | None:
    try:
        if not repository.source(entry.value):
            npm_spec.check("plugin", entry.value)
        elif offer.bun:
            reason = "OpenCode 1.0 to 1.3 has no plugins out of repositories"
            return Judgement(entry, "not covered", reason, "publish it on npm")
    except BadInputError as error:
        return Judgement(entry, "not covered", "cannot be locked", str(error))
    return None


def _local(entry: Entry) -> Judgement:
    """A plugin that lies on the machine: OpenCode imports it from there, and what it depends on is locked."""
    path = Path(entry.value.removeprefix("file://")).expanduser()
    reason = "OpenCode imports it from where it lies"
    if (path / "package.json").is_file() and not (path / "node_modules").exists():
        return Judgement(
            entry, "cached", f"{reason}; its dependencies are locked", plan=("plugins", (str(path),))
        )
    return Judgement(entry, "not needed", reason)


def _with_secret(entry: Entry) -> Judgement | None:
    parts = urlsplit(entry.value.partition("@")[2] if "@git" in entry.value else entry.value)
    if "://" in entry.value and (parts.password or parts.query):
        fix = "take it out of the address; git and npm have settings of their own for it"
        return Judgement(entry, "not covered", "has a password or a key in it, which no lock may hold", fix)
    return None


def _provider(entry: Entry, offer: Offer) -> Judgement:
    spec = entry.value
    if spec.startswith(_LOCAL):
        return Judgement(entry, "not needed", "OpenCode imports it from where it lies")
    if offer.bundles(spec):
        return Judgement(entry, "bundled", "is compiled into OpenCode")
    try:
        npm_spec.check("provider", spec)
    except BadInputError as error:
        return Judgement(entry, "not covered", "cannot be locked", str(error))
    return _lockable(entry, offer, "extra_providers", (spec,), there=offer.has("provider", spec))


def _tool(entry: Entry, offer: Offer) -> Judgement:
    if offer.bun:
        return Judgement(
            entry,
            "not covered",
            f"OpenCode {offer.opencode} keeps npm tools outside its cache directory",
            f"install {entry.value} on the machine, and name its command",
            certain=False,
        )
    return _lockable(entry, offer, "tools", (entry.value,), there=offer.has("tool", entry.value))


def _servers(entry: Entry, offer: Offer) -> Judgement:
    if offer.requests and any(one.kind == "tool" for one in offer.requests):
        return Judgement(entry, "cached", "the plan's tools are in the cache")
    names = ", ".join(sorted(tool.package for tool in tools.TOOLS.values() if tool.server))
    return Judgement(
        entry,
        "not covered",
        "OpenCode fetches a server for each language that it meets",
        f"name those of your languages in the plan's `tools`, or give --project DIR: {names}",
        certain=False,
    )


def _command(entry: Entry, offer: Offer) -> Judgement:
    """A command of the user's: of `mcp`, `lsp` or `formatter`."""
    fetched = commands.fetched(entry.words)
    if fetched is None:
        return Judgement(entry, "not needed", f"starts {PurePath(entry.value).name} of the machine")
    what = public(fetched.spec) or "what it names"
    if fetched.by == "npm":
        return _npm_command(entry, fetched, offer)
    if fetched.by == "python":
        fix = (
            f"fetch its wheels where there is a network (pip download -d wheels {what}), and have offline = "
            'true, no-index = true and find-links = ["/…/wheels"] in ~/.config/uv/uv.toml'
        )
        return Judgement(entry, "not covered", f"{fetched.runner} asks for the Python package {what}", fix)
    if fetched.by == "container":
        fix = f"load the image with {fetched.runner} load before the network is gone"
        return Judgement(
            entry, "not covered", f"{fetched.runner} pulls {what} if it is not there", fix, certain=False
        )
    fix = "write the command itself, without a shell around it"
    return Judgement(entry, "not covered", f"{fetched.runner} starts something that asks a registry", fix)


def _npm_command(entry: Entry, fetched: Fetched, offer: Offer) -> Judgement:
    what = public(fetched.spec) or "what it names"
    fix = f"run npm install -g {what} where there is a network, and write the command that it has"
    try:
        npm_spec.check("command", fetched.spec)
    except BadInputError:
        return Judgement(entry, "not covered", f"{fetched.runner} asks for {what}", fix)
    if offer.bun:
        reason = (
            f"{fetched.runner} asks the registry for {what}, and only OpenCode 1.14 or newer can be answered"
        )
        return Judgement(entry, "not covered", reason, fix)
    return _lockable(entry, offer, "commands", (fetched.spec,), there=offer.has("command", fetched.spec))


def _remote(entry: Entry, offer: Offer) -> Judgement:  # noqa: ARG001 - one shape for all
    host = urlsplit(entry.value).hostname or "its address"
    return Judgement(entry, "not needed", f"a service: the machine must reach {host}")


def _package(entry: Entry, offer: Offer) -> Judgement:
    directory = Path(entry.where).parent
    if not entry.value:
        return Judgement(entry, "not covered", "is not a readable package.json", "fix or remove it")
    name, wanted = split_spec(entry.value)
    if (directory / "node_modules" / name / "package.json").is_file() and not _ours(
        directory / "node_modules" / name
    ):
        return Judgement(entry, "not needed", "is installed there")
    try:
        npm_spec.check("dependencies", entry.value)
    except BadInputError:
        fix = f"run npm install in {directory} where there is a network, and take node_modules along"
        return Judgement(
            entry, "not covered", f"{public(wanted)!r} is not a version that a registry has", fix
        )
    if offer.layout != "packages":
        does = "installs it at every start" if offer.bun else "installs nothing there"
        fix = f"run npm install in {directory} where there is a network, and take node_modules along"
        return Judgement(entry, "not covered", f"OpenCode {offer.opencode} {does}", fix)
    return _lockable(entry, offer, "config", (entry.value,), there=offer.has_dependency(name))


def _ours(package: Path) -> bool:
    """Whether it is a link that the wrapper put there."""
    return package.is_symlink() or package.parent.is_symlink()


def _url(entry: Entry, offer: Offer) -> Judgement:
    try:
        urls.check(entry.key, entry.value, layouts.for_version(offer.opencode).name)
    except BadInputError as error:
        return Judgement(entry, "not covered", "cannot be locked", str(error))
    there = urls.first(entry.key, entry.value) in offer.urls
    return _lockable(entry, offer, entry.key, (entry.value,), there=there)


def _reference(entry: Entry, offer: Offer) -> Judgement:  # noqa: ARG001
    fix = "clone it where the machine has it, and write its `path` in place of the repository"
    return Judgement(entry, "not covered", "is cloned when it is first used", fix, certain=False)


_RULES: dict[str, Callable[[Entry, Offer], Judgement]] = {
    "plugin": _plugin,
    "provider": _provider,
    "tool": _tool,
    "servers": _servers,
    "command": _command,
    "mcp": _command,
    "remote": _remote,
    "package": _package,
    "url": _url,
    "reference": _reference,
}


def worst(same: Sequence[Judgement]) -> Judgement:
    """Of what several caches make of one entry, what counts: each of them is used by some OpenCode here."""
    return next((each for each in same if each.word == "not covered"), same[0])


def lacking(judgements: Sequence[Judgement]) -> list[Judgement]:
    """Those that are not covered."""
    return [judgement for judgement in judgements if judgement.word == "not covered"]
