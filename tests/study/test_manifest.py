"""A manifest is a typed record: the first session's facts are the run's own, and nothing that it holds is lost."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnmesh.errors import InputError
from vpnmesh.frames.schemas import SCHEMA_VERSION
from vpnmesh.study.manifest import Manifest, RunSession, Surroundings, read_manifest

names = st.text(st.characters(categories=["Ll"], max_codepoint=127), min_size=1, max_size=8)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
answers = st.dictionaries(names, st.dictionaries(names, texts, max_size=2), max_size=2)
values: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | texts | st.lists(texts)
entries = st.fixed_dictionaries(
    {},
    optional={
        "vpnmesh": texts,
        "engine": texts,
        "lab": st.none() | st.dictionaries(names, values, max_size=2),
        "nodes": answers,
        "node_differences": st.lists(texts),
        "sysctls_before": answers,
        "profile": values,
        "scenarios": values,
        "seed": st.integers(0, 10),
        "argv": st.lists(texts),
        "footprint_before": st.dictionaries(
            names, st.dictionaries(names, st.lists(texts), max_size=2), max_size=2
        ),
    },
)


@given(entries, st.dictionaries(names.map(lambda name: f"x_{name}"), values, max_size=3))
def test_a_manifest_comes_back_as_it_was(known: dict[str, Any], more: dict[str, Any]) -> None:
    """Keys that were given and no others, with those that nobody here knows."""
    content = {"schema_version": SCHEMA_VERSION, **known, **more}
    manifest = read_manifest(json.loads(json.dumps(content)), "here")
    assert manifest.entries() == content
    assert read_manifest(json.loads(json.dumps(manifest.entries())), "here") == manifest


def test_the_first_session_is_the_runs_own() -> None:
    """Later sessions keep what they met to themselves."""
    manifest = Manifest(seed=1, started_at="then")
    for engine in ("netem", "nfqueue"):
        met = Surroundings(engine=engine)
        manifest = manifest.begun(RunSession(started_at="now", engine=engine), met)
        manifest = manifest.noted({"footprint_before": {"worker1": {"files": [engine]}}})
    assert (manifest.engine, manifest.started_at) == ("netem", "then")
    assert manifest.footprint_before == {"worker1": {"files": ["netem"]}}
    assert [one.engine for one in manifest.sessions] == ["netem", "nfqueue"]
    assert manifest.sessions[1].footprint_before == {"worker1": {"files": ["nfqueue"]}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"engine": 3}, "here: engine: is '3', should be a valid string; this is no run of this version"),
        ({"seed": "one"}, "here: seed: is 'one'"),
        ({"nodes": {"worker1": "up"}}, "here: nodes: worker1: is 'up'"),
        ({"sessions": [{"argv": 1}]}, "here: sessions: 0: argv: is '1'"),
        ({"schema_version": SCHEMA_VERSION + 1}, "here: a run of schema version"),
        ({"schema_version": None}, "here: a run of schema version None"),
    ],
)
def test_a_wrong_manifest_is_one_sentence(content: dict[str, Any], said: str) -> None:
    """Place and key, and what to make of it."""
    with pytest.raises(InputError) as caught:
        read_manifest({"schema_version": SCHEMA_VERSION, **content}, "here")
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("content", [None, 1, "x", [], [1]])
def test_what_is_no_object_is_no_manifest(content: object) -> None:
    """Any other JSON."""
    with pytest.raises(InputError, match="here: not a manifest"):
        read_manifest(content, "here")
