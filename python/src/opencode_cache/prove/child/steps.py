"""The steps of the proof that need no server: models and provider SDKs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from opencode_cache.base.errors import CheckFailedError
from opencode_cache.opencode import run as opencode
from opencode_cache.prove.child.record import ended

if TYPE_CHECKING:
    from pathlib import Path

    from opencode_cache.formats.manifest import Entry
    from opencode_cache.prove.child.record import Patience, Record, Subject

_IMPORT_TIMEOUT = 60
_MARK = "PROOF:"
_BASE = "http://127.0.0.1:9/v1"

# As OpenCode makes a model (1.0.61 and 1.18.33, provider/provider.ts): the first export named create…,
# called with the options; `languageModel(id)`. The stub for fetch tells where a request would go, so that
# an SDK which does not heed baseURL never gets to ask for its own host.
_TRIAL = """
const { name, root, path, baseURL } = JSON.parse(process.env.OPENCODE_CACHE_TRIAL)
const module = await import(path ?? Bun.resolveSync(name, root))
const creators = Object.keys(module).filter((key) => key.startsWith("create"))
const result = { creators, urls: [], error: null }
const fetch = async (input) => {
  result.urls.push(String(input?.url ?? input))
  return new Response("{}", { status: 400, headers: { "content-type": "application/json" } })
}
globalThis.fetch = fetch
try {
  const sdk = module[creators[0]]({ name: "loopback", baseURL, apiKey: "loopback", fetch })
  const prompt = [{ role: "user", content: [{ type: "text", text: "hello" }] }]
  await sdk.languageModel("loopback").doGenerate({ inputFormat: "prompt", mode: { type: "regular" }, prompt })
} catch (error) {
  result.error = String(error?.message ?? error)
}
console.log("\\nPROOF:" + JSON.stringify(result))
process.exit(0)
"""


def prove_models(subject: Subject, record: Record) -> None:
    """OpenCode lists its models: one step."""

    def models(patience: Patience) -> str:
        with opencode.private_home() as home:
            done = subject.run(patience, home, "models")
        listed = [line for line in done.stdout.splitlines() if "/" in line]
        if done.returncode != 0 or not listed:
            raise CheckFailedError(ended(done))
        return f"{len(listed)} listed"

    record.step("models", models)


def prove_import(subject: Subject, record: Record, entry: Entry) -> bool:
    """Import a provider SDK with the binary's own Bun; whether it would call a given baseURL."""
    result: dict[str, Any] = {}

    def imported(patience: Patience) -> str:
        with opencode.private_home() as home:
            result.update(_import(subject, patience, home, entry))
        if not result["creators"]:
            raise CheckFailedError("it imports, but exports no create function")
        detail = f"{entry.version} exports {', '.join(result['creators'])}"
        if _calls_the_base(result["urls"]):
            return detail
        elsewhere = [f"it calls {url.split('?')[0]}, whatever baseURL says" for url in result["urls"][:1]]
        reason = (elsewhere or [result["error"] or "it sent no request"])[0]
        return f"{detail}; imported, not driven: {' '.join(reason.split())[:200]}"

    return record.step(f"import {entry.spec}", imported) and _calls_the_base(result["urls"])


def _calls_the_base(urls: list[str]) -> bool:
    return any(url.startswith(_BASE) for url in urls)


def _import(subject: Subject, patience: Patience, home: Path, entry: Entry) -> dict[str, Any]:
    path = subject.cache / entry.path
    trial = {"name": entry.name, "baseURL": _BASE}
    # 1.0 imports the directory, the packages layout resolves the name from the tree.
    root = str(path)[: -len(f"/node_modules/{entry.name}")]
    trial |= {"path": str(path)} if subject.manifest.layout == "bun" else {"root": root}
    extra = subject.extra | {"BUN_BE_BUN": "1", "OPENCODE_CACHE_TRIAL": json.dumps(trial)}
    arguments = ["--no-install", "-e", _TRIAL]
    limit = patience.limit(_IMPORT_TIMEOUT)
    done = opencode.run(subject.binary, arguments, home, extra=extra, timeout=limit)
    _, mark, answer = done.stdout.rpartition(_MARK)
    if not mark:
        raise CheckFailedError(ended(done))
    result: dict[str, Any] = json.loads(answer)
    return result
