"""models.dev's sources -> api.json: inheritance, prices, links, refusals; equality with upstream."""

from __future__ import annotations

import copy
import json
import lzma
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_cache.base.errors import BadInputError
from opencode_cache.catalogue import document as catalogue
from opencode_cache.catalogue import generate

PROVIDER = {
    "name": "Alpha",
    "env": ["ALPHA_KEY"],
    "npm": "@ai-sdk/openai-compatible",
    "api": "https://alpha.example/v1",
    "doc": "https://alpha.example/models",
}
MODEL = {
    "name": "One",
    "attachment": False,
    "reasoning": False,
    "tool_call": True,
    "release_date": "2026-01",
    "last_updated": "2026-01-31",
    "modalities": {"input": ["text", "image"], "output": ["text"]},
    "open_weights": True,
    "limit": {"context": 200_000, "output": 8_000},
    "cost": {"input": 0.5, "output": 2},
}
TIER = {"input": 1, "output": 4, "tier": {"size": 200_000}}


def inline(value):
    """A value as TOML says it on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return json.dumps(value)


def toml(table):
    return "".join(f"{json.dumps(key)} = {inline(value)}\n" for key, value in table.items())


def without(table, *paths):
    table = copy.deepcopy(table)
    for path in paths:
        *parents, last = path.split(".")
        below = table
        for part in parents:
            below = below[part]
        del below[last]
    return table


class Sources:
    """A directory with sources. A key is a path without `.toml`, a value a table, text or bytes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, files):
        for name, content in files.items():
            path = self.root / f"{name}.toml"
            path.parent.mkdir(parents=True, exist_ok=True)
            text = toml(content) if isinstance(content, dict) else content
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return self

    def models(self, provider="alpha"):
        return generate.generate(self.root)[provider]["models"]


@pytest.fixture
def sources(tmp_path):
    return Sources(tmp_path / "sources").put(
        {"providers/alpha/provider": PROVIDER, "providers/alpha/models/one": MODEL}
    )


def test_a_provider_and_its_models_come_out_as_upstream_writes_them(sources):
    sources.put({"providers/alpha/models/lab/two": MODEL | {"status": "beta", "name": "Two"}})
    made = generate.generate(sources.root)
    assert made == {
        "alpha": {"id": "alpha"}
        | PROVIDER
        | {
            "models": {
                "lab/two": {"id": "lab/two"} | MODEL | {"name": "Two", "status": "beta"},
                "one": {"id": "one"} | MODEL,
            }
        }
    }
    assert list(made["alpha"]) == ["id", "env", "npm", "api", "name", "doc", "models"]
    assert list(made["alpha"]["models"]["lab/two"])[-3:] == ["limit", "status", "cost"]
    assert catalogue.read(_written(sources.root.parent / "api.json", made)) == made


def _written(path, document):
    path.write_text(catalogue.dumps(document), encoding="utf-8")
    return path


def test_numbers_are_those_of_json(sources):
    text = toml(without(MODEL, "cost", "limit"))
    text += (
        "[cost]\ninput = 3.0\noutput = 1_000.50\n[limit]\ncontext = 1_048_576\noutput = 9007199254740993\n"
    )
    sources.put({"providers/alpha/models/one": text})
    assert '"cost":{"input":3,"output":1000.5}' in (said := catalogue.dumps(sources.models()))
    assert '"limit":{"context":1048576,"output":9007199254740992}' in said.replace(" ", "")


@pytest.mark.parametrize("prefix", [b"\xef\xbb\xbf", b"# a comment\r\n"], ids=["BOM", "CRLF"])
def test_text_from_windows_is_read(sources, prefix):
    content = prefix + toml(MODEL).replace("\n", "\r\n").encode()
    sources.put({"providers/alpha/models/one": content})
    assert sources.models() == {"one": {"id": "one"} | MODEL}


# Fields that come and go


def test_fields_that_came_later_are_read_through(sources):
    later = {"type": "chat", "description": "Small", "aliases": ["uno"], "capabilities": {"x": {"y": True}}}
    limit = MODEL["limit"] | {"input": 100_000, "images": 5}
    sources.put(
        {
            "providers/alpha/models/one": MODEL | later | {"limit": limit},
            "providers/alpha/provider": PROVIDER | {"regions": ["eu"]},
        }
    )
    made = generate.generate(sources.root)["alpha"]
    assert made["models"]["one"] == {"id": "one"} | MODEL | later | {"limit": limit}
    assert list(made["models"]["one"])[:4] == ["id", "type", "name", "description"]
    assert made["regions"] == ["eu"]


def test_what_upstream_drops_is_dropped(sources):
    sources.put(
        {
            "providers/alpha/models/one": MODEL
            | {"cost": MODEL["cost"] | {"cached_input": 1, "image": 2}}
            | {"provider": {"npm": "@ai-sdk/openai", "note": "x"}}
            | {"experimental": {"other": 1, "modes": {"fast": {"cost": TIER, "provider": {"x": 1}}}}}
        }
    )
    assert sources.models()["one"] == {"id": "one"} | MODEL | {
        "provider": {"npm": "@ai-sdk/openai"},
        "experimental": {"modes": {"fast": {"cost": {"input": 1, "output": 4}, "provider": {}}}},
    }


def test_what_a_provider_is_told_for_one_model_stays_whole(sources):
    told = {
        "api": "https://beta.example/${PROJECT}",
        "shape": "responses",
        "body": {"service_tier": "priority", "nested": {"list": [1, {"deep": "x"}], "yes": True}},
        "headers": {"x-beta": "a,b"},
    }
    sources.put({"providers/alpha/models/one": MODEL | {"provider": told}})
    assert sources.models()["one"]["provider"] == told


@pytest.mark.parametrize("interleaved", [True, {"field": "reasoning_details"}])
def test_interleaved_reasoning_has_two_forms(sources, interleaved):
    sources.put({"providers/alpha/models/one": MODEL | {"interleaved": interleaved}})
    assert sources.models()["one"]["interleaved"] == interleaved


def test_reasoning_options_come_out_with_null_where_toml_has_text(sources):
    options = [
        {"type": "toggle"},
        {"type": "effort", "values": ["null", "low", "max", "default"]},
        {"type": "budget_tokens", "min": -1},
    ]
    sources.put({"providers/alpha/models/one": MODEL | {"reasoning": True, "reasoning_options": options}})
    options[1]["values"][0] = None
    assert sources.models()["one"]["reasoning_options"] == options


# Prices


@pytest.mark.parametrize(
    ("tiers", "legacy"),
    [
        ([TIER], True),
        ([TIER | {"tier": {"type": "context", "size": 1_000_000}, "cache_read": 0.1}], True),
        ([TIER | {"tier": {"size": 199_999}}], False),
        ([TIER, TIER | {"tier": {"size": 400_000}}], False),
        ([], False),
    ],
    ids=["at 200k", "above", "below", "two", "none"],
)
def test_one_tier_from_200k_on_is_repeated_for_older_readers(sources, tiers, legacy):
    sources.put({"providers/alpha/models/one": MODEL | {"cost": MODEL["cost"] | {"tiers": tiers}}})
    cost = sources.models()["one"]["cost"]
    assert [tier["tier"] for tier in cost["tiers"]] == [{"type": "context"} | tier["tier"] for tier in tiers]
    assert cost.get("context_over_200k") == (without(tiers[0], "tier") if legacy else None)


# Inheritance


def test_a_model_inherits_what_is_true_of_it_everywhere(sources):
    links = {
        "license": "MIT",
        "links": [{"url": "https://lab.example"}],
        "weights": [{"url": "https://lab.example/w", "format": "gguf"}],
        "benchmarks": [{"name": "B", "score": 0.5}],
    }
    base = without(MODEL, "cost") | links | {"description": "From the lab", "knowledge": "2025-01"}
    own = {
        "base_model": "lab/one",
        "base_model_omit": ["knowledge", "limit.input", "modalities.output", "no.such.path", "name.deeper"],
        "modalities": {"input": ["text"]},
        "limit": {"output": 1},
        "cost": MODEL["cost"],
    }
    base["limit"] = base["limit"] | {"input": 5}
    sources.put({"models/lab/one": base, "providers/alpha/models/one": without(own, "base_model_omit")})
    whole = {"id": "one"} | MODEL | {"description": "From the lab", "knowledge": "2025-01"}
    whole |= {"limit": {"context": 200_000, "input": 5, "output": 1}}
    whole |= {"modalities": {"input": ["text"], "output": ["text"]}}
    assert sources.models()["one"] == whole
    own["base_model_omit"].remove("modalities.output")
    sources.put({"providers/alpha/models/one": own})
    assert sources.models()["one"] == without(whole, "knowledge", "limit.input")


def test_a_table_that_omission_empties_goes_with_it(sources):
    base = MODEL | {"extra": {"deep": {"one": 1}, "kept": 2}, "sole": {"deep": {"one": 1}}}
    own = {"base_model": "lab/one", "base_model_omit": ["extra.deep.one", "sole.deep.one", "cost.tiers"]}
    own |= {"cost": MODEL["cost"] | {"tiers": [TIER]}}
    sources.put({"models/lab/one": without(base, "cost"), "providers/alpha/models/one": own})
    assert sources.models()["one"] == {"id": "one"} | MODEL | {"extra": {"kept": 2}}


PATHS = [
    "name",
    "attachment",
    "modalities",
    "modalities.input",
    "limit",
    "limit.context",
    "family",
    "knowledge",
]


@given(st.sets(st.sampled_from(PATHS)), st.sets(st.sampled_from(PATHS)))
def test_where_a_field_is_written_makes_no_difference(tmp_path_factory, moved, repeated):
    whole = MODEL | {"family": "gpt", "knowledge": "2025-01"}
    base, own = {"name": "Other"}, {"base_model": "lab/one"} | copy.deepcopy(whole)
    for path in moved:
        *parents, last = path.split(".")
        value, below, above = whole, base, own
        for part in parents:
            value, below, above = value[part], below.setdefault(part, {}), above.get(part, {})
        below[last] = copy.deepcopy(value[last])
        if path not in repeated:
            above.pop(last, None)
    # A base has whole tables.
    for name in ("modalities", "limit"):
        if name in base:
            base[name] = whole[name] | base[name]
    root = tmp_path_factory.mktemp("sources")
    files = {"models/lab/one": base, "providers/alpha/provider": PROVIDER, "providers/alpha/models/one": own}
    assert Sources(root).put(files).models()["one"] == {"id": "one"} | whole


# Links and hidden files


def test_links_are_read_as_what_they_lead_to(sources):
    models = sources.root / "providers/alpha/models"
    sources.put(
        {"providers/beta/provider": PROVIDER | {"name": "Beta"}, "providers/beta/models/x/three": MODEL}
    )
    (models / "two.toml").symlink_to("one.toml")
    (models / "lab").symlink_to("../../beta/models/x")
    (models / "nowhere.toml").symlink_to("gone.toml")
    (sources.root / "providers/linked").symlink_to("alpha")
    sources.put(
        {"providers/.hidden/provider": "", "providers/alpha/models/.hidden": "", "providers/notes": ""}
    )
    assert {key: model["id"] for key, model in sources.models().items()} == {
        key: key for key in ("lab/three", "one", "two")
    }
    assert list(generate.generate(sources.root)) == ["alpha", "beta"]


def test_the_sources_may_be_a_link_themselves(sources, tmp_path):
    (tmp_path / "link").symlink_to(sources.root)
    assert generate.generate(tmp_path / "link") == generate.generate(sources.root)


@pytest.mark.parametrize(
    "target", ["{outside}/m.toml", "{outside}", "../../../../outside/m.toml", "{outside}/gone"]
)
def test_a_link_out_of_the_sources_is_refused(sources, tmp_path, target):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "m.toml").write_text(toml(MODEL), encoding="utf-8")
    link = sources.root / "providers/alpha/models" / "link.toml"
    link.symlink_to(target.format(outside=outside))
    refused(sources, str(link), "is a link out of")


def test_a_provider_that_is_a_link_out_of_the_sources_is_refused(sources, tmp_path):
    (tmp_path / "provider.toml").write_text(toml(PROVIDER | {"name": "Beta"}), encoding="utf-8")
    sources.put({"providers/beta/models/one": MODEL})
    (sources.root / "providers/beta/provider.toml").symlink_to(tmp_path / "provider.toml")
    refused(sources, "providers/beta/provider.toml", "is a link out of")


@pytest.mark.parametrize(("name", "target"), [("up", "."), ("self.toml", "self.toml")])
def test_a_link_in_a_circle_is_refused(sources, name, target):
    link = sources.root / "providers/alpha/models" / name
    link.symlink_to(target)
    refused(sources, str(link), "remove")


# Refusals


def refused(sources, *parts):
    with pytest.raises(BadInputError) as caught:
        generate.generate(sources.root)
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    assert all(part in said for part in parts), said
    return said


def changed(**fields):
    return {key: value for key, value in (MODEL | fields).items() if value is not None}


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (changed(name=None), "name: Field required"),
        (changed(name=""), "name: "),
        (changed(tool_call="yes"), "tool_call: Input should be a valid boolean, got 'yes'"),
        (changed(tool_call=1), "tool_call: Input should be a valid boolean"),
        (changed(release_date="2026"), "release_date: "),
        (changed(release_date="2026-01-31\n"), "release_date: "),
        (changed(last_updated="31-01-2026"), "last_updated: "),
        (changed(knowledge="later"), "knowledge: "),
        (changed(limit={"context": 1}), "limit.output: Field required"),
        (changed(limit={"context": -1, "output": 1}), "limit.context: "),
        (changed(limit={"context": True, "output": 1}), "limit.context: "),
        (changed(cost={"input": "1", "output": 1}), "cost.input: "),
        (changed(cost={"input": 1, "output": -0.1}), "cost.output: "),
        (changed(cost={"input": 1}), "cost.output: Field required"),
        (changed(cost={"input": 1, "output": 1, "reasoning": 1}), "cost.reasoning is set but reasoning is"),
        (
            changed(cost={"input": 1, "output": 1, "tiers": [TIER, TIER]}),
            "cost: two tiers have the same size",
        ),
        (changed(cost={"input": 1, "output": 1, "tiers": [{"input": 1}]}), "cost.tiers.0.output: "),
        (
            changed(cost={"input": 1, "output": 1, "tiers": [TIER | {"tier": {"size": 0.5}}]}),
            "cost.tiers.0.tier.size: ",
        ),
        (changed(modalities={"input": ["smell"], "output": []}), "modalities.input.0: "),
        (changed(modalities={"input": ["text"]}), "modalities.output: Field required"),
        (changed(status="old"), "status: "),
        (changed(interleaved=False), "interleaved: "),
        (changed(interleaved={"field": "x"}), "interleaved.field: "),
        (changed(interleaved={"field": "reasoning_content", "x": 1}), "interleaved.x: "),
        (changed(provider={"shape": "round"}), "provider.shape: "),
        (changed(provider={"headers": {"x": 1}}), "provider.headers.x: "),
        (changed(reasoning_options=[{"type": "magic"}]), "reasoning_options.0: "),
        (changed(reasoning_options=[{"type": "toggle", "x": 1}]), "reasoning_options.0.x: "),
        (
            changed(reasoning_options=[{"type": "effort", "values": ["huge"]}]),
            "reasoning_options.0.values.0: ",
        ),
        (
            changed(reasoning_options=[{"type": "budget_tokens", "min": 2, "max": 1}]),
            "reasoning_options.0: min is above max",
        ),
        (
            changed(experimental={"modes": {"fast": {"cost": {"input": 1}}}}),
            "experimental.modes.fast.cost.output: ",
        ),
        (changed(base_model_omit=["x"]), "base_model_omit: there is no base_model"),
        (changed(base_model="lab/two"), "base_model: 'lab/two' is not in models/"),
        (changed(base_model=1), "base_model: 1 is not in models/"),
        (changed(base_model="lab/one", base_model_omit="x"), "base_model_omit: must be a list"),
        (changed(base_model="lab/one", base_model_omit=["limit.output"]), "limit.output: Field required"),
        (changed(cost=TIER | {"context_over_200k": TIER}), "cost.context_over_200k: is made from cost.tiers"),
        (changed(extends={"from": "alpha/one"}), "extends: is of older sources"),
        ("name = \n", "not TOML: "),
        ("name = 1\nname = 2\n", "not TOML: "),
        ("x = " + "[" * 5000, "not TOML: "),
        ("x = " + "9" * 5000, "not TOML: "),
        (b'name = "\xff"\n', "not UTF-8 (invalid start byte at byte 8); save it as UTF-8"),
        (b"#" * 1_000_001, "is larger than 1000 kB"),
        (toml(MODEL) + "day = 2026-01-31\n", "day: 2026-01-31 is a date or a time"),
        (toml(MODEL) + "x = [1, {y = inf}]\n", "x.1.y: is not a number that JSON can say"),
        (toml(MODEL) + "x = " + "9" * 400 + "\n", "x: is not a number that JSON can say"),
        (toml(MODEL) + "x = nan\n", "x: is not a number that JSON can say"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_upstream_refuses_is_refused_with_file_and_field(sources, model, said):
    sources.put({"models/lab/one": without(MODEL, "cost"), "providers/alpha/models/lab/bad": model})
    refused(sources, str(sources.root / "providers/alpha/models/lab/bad.toml") + ": ", said)


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        (without(PROVIDER, "npm"), "npm: Field required"),
        (PROVIDER | {"env": []}, "env: "),
        (PROVIDER | {"env": "KEY"}, "env: "),
        (without(PROVIDER, "api"), "api is missing, which @ai-sdk/openai-compatible needs"),
        (PROVIDER | {"npm": "@ai-sdk/groq"}, "api is set, which @ai-sdk/groq does not take"),
        (PROVIDER | {"name": "aLPHA"}, "name: 'aLPHA' is the name of 'alpha' as well"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_provider_is_refused_with_file_and_field(sources, provider, said):
    sources.put({"providers/beta/provider": provider, "providers/beta/models/one": MODEL})
    refused(sources, str(sources.root / "providers/beta/provider.toml") + ": ", said)


@pytest.mark.parametrize("npm", ["@ai-sdk/anthropic", "@ai-sdk/openai", "some-provider-of-next-year"])
def test_an_address_is_optional_for_some(sources, npm):
    for provider in (PROVIDER, without(PROVIDER, "api")):
        sources.put({"providers/alpha/provider": provider | {"npm": npm}})
        assert generate.generate(sources.root)["alpha"]["npm"] == npm


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (without(MODEL, "name"), "name: Field required"),
        (MODEL | {"links": [{"url": "nowhere"}]}, "links.0.url: "),
        (MODEL | {"weights": [{"label": "x"}]}, "weights.0.url: Field required"),
        (MODEL | {"limit": {}}, "limit.context: Field required"),
        (MODEL | {"benchmarks": [{"name": "x", "score": True}]}, "benchmarks.0.score"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_metadata_is_refused_with_file_and_field(sources, metadata, said):
    sources.put({"models/lab/one": metadata})
    refused(sources, str(sources.root / "models/lab/one.toml") + ": ", said)


def test_a_model_that_reasons_says_how_and_no_other_does(sources):
    sources.put({"providers/alpha/models/stray": MODEL | {"reasoning": True}})
    refused(sources, "stray.toml: reasoning_options: missing, though reasoning is true")
    sources.put({"providers/alpha/models/stray": MODEL | {"reasoning_options": []}})
    refused(sources, "stray.toml: reasoning_options: set, though reasoning is false")


def test_two_providers_of_one_name_are_refused(sources):
    files = {}
    for provider in ("stepfun", "stepfun-ai"):
        files[f"providers/{provider}/provider"] = PROVIDER | {"name": "StepFun"}
        files[f"providers/{provider}/models/one"] = MODEL
    sources.put(files)
    refused(sources, "stepfun-ai/provider.toml: name: 'StepFun' is the name of 'stepfun' as well")


def test_what_is_no_directory_with_sources_is_refused(sources, tmp_path):
    refused(Sources(tmp_path / "none"), "none: has no providers/")
    (tmp_path / "empty" / "providers" / "x").mkdir(parents=True)
    refused(Sources(tmp_path / "empty"), "empty: has no providers/*/provider.toml")
    sources.put({"providers/beta/provider": PROVIDER | {"name": "Beta"}})
    refused(sources, "beta/provider.toml: has no models/ beside it")


@pytest.mark.parametrize(
    "place", ["providers/\udcff", "providers/alpha/models/\udcff", "providers/alpha/models/a\nb"]
)
def test_a_name_that_is_no_text_is_refused(sources, place):
    try:
        (sources.root / place).mkdir()
    except OSError:
        pytest.skip("this file system has no such names")
    refused(sources, "the name is not plain text; rename it")


def test_a_directory_in_place_of_a_model_is_none(sources):
    (sources.root / "providers/alpha/models/dir.toml").mkdir()
    assert list(sources.models()) == ["one"]


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)), st.booleans())
def test_whatever_a_file_holds_it_is_read_or_refused_in_one_sentence(tmp_path_factory, content, appended):
    root = tmp_path_factory.mktemp("sources")
    content = toml(MODEL).encode() + content if appended else content
    sources = Sources(root).put({"providers/alpha/provider": PROVIDER, "providers/alpha/models/one": content})
    try:
        assert json.loads(catalogue.dumps(sources.models()))
    except BadInputError as error:
        said = str(error)
    else:
        said = f"{root}: read"
    assert str(root) in said
    assert "\n" not in said


# As an argument of the command line


def test_a_catalogue_is_given_as_a_file_or_as_sources(sources, tmp_path):
    made, kind = catalogue.given(sources.root)
    assert (made, kind) == (generate.generate(sources.root), "directory")
    assert catalogue.given(_written(tmp_path / "api.json", made)) == (made, "file")
    assert catalogue.describe(made, kind).models == 1


# Upstream's own output

REPOSITORY = Path(__file__).resolve().parents[3]
DATA = os.environ.get("OPENCODE_CACHE_MODELS_DEV")
MEASURED = """
import json, resource, sys, time
from pathlib import Path
from opencode_cache.catalogue import document as catalogue
from opencode_cache.catalogue import generate
made = generate.generate(Path(sys.argv[1]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps({"seconds": time.process_time(), "bytes": peak}))
Path(sys.argv[2]).write_text(catalogue.dumps(made), encoding="utf-8")
"""


@pytest.mark.skipif(not DATA, reason="OPENCODE_CACHE_MODELS_DEV names no directory with models.dev's sources")
def test_equal_to_what_upstream_makes_of_the_pinned_revision(tmp_path):
    pinned = json.loads((REPOSITORY / "flake.lock").read_text())["nodes"]["models-dev"]["locked"]["rev"][:9]
    archive = Path(DATA) / f"source-{pinned}.tar.xz"
    assert archive.is_file(), f"{DATA}: no {archive.name}"
    source = tmp_path / pinned
    with tarfile.open(archive) as packed:
        packed.extractall(source, filter="tar")
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, source, tmp_path / "api.json"],
        env={**os.environ, "PYTHONPATH": str(Path(generate.__file__).parents[2])},
        capture_output=True,
        check=True,
        timeout=60,
    )
    truth = json.loads(lzma.decompress((Path(DATA) / f"api-{pinned}.json.xz").read_bytes()))
    assert json.loads((tmp_path / "api.json").read_text(encoding="utf-8")) == truth
    # Processor time, with the start of Python: what others do on the machine does not count.
    measured = json.loads(done.stdout)
    assert measured["seconds"] < 3
    assert measured["bytes"] < 300_000_000
