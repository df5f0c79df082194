"""The file as a whole: what CONTRACTS.md shows is read to the values it shows, and what is not said has its default."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configuration import Configuration, convert_resolved, load, resolved_document
from configuration.model import (
    Budget,
    Capture,
    Drift,
    Inference,
    Labels,
    Mirror,
    Model,
    Pairs,
    Tenant,
    Window,
)
from configuration.privacy import FieldSchema, Schema
from configuration.reading import convert
from configuration.sections import Exporter, Kafka, Limits, Parse, Proxy, Rollback, Spool
from configuration.target import Fallback, Probe, Target, TargetTls
from configuration.units import Duration, Size
from lifecycle.refusal import Refusal

CONTRACT = """\
kafka: {bootstrap_servers: "kafka:9092"}        # or `kafka: embedded`, for `up` and `demo`
proxy: {listen: "0.0.0.0:8080", admin: "127.0.0.1:9101", workers: 2, limits: {header_bytes: 64KiB, body_bytes: null},
        drain_timeout: 10s, token_file: null, spool: {max_bytes: 4GiB}, parse: {max_bytes: 1MiB}}
exporter: {listen: "127.0.0.1:9108", token_file: null, open: [metrics, health]}      # open: without a token
rollback: {listen: "127.0.0.1:9109", token_file: null, dry_run: true, on_feature_drift: corroborated}
state_dir: state/
models:
  - name: fraud
    path_prefix: /
    inference: {methods: [POST], paths: ["/predict", "/v2/models/*/infer"]}    # `*` one segment, `**` any
    targets:
      v2: {url: "http://model-v2:8080", timeout: 30s, probe: {request: probe.json, schema: answer.schema.json}}
      v1: {url: "http://model-v1:8080"}
    fallback: {target: v1}    # or {status: 200, body_file: safe.json}
    production: v2            # what serves until something switches it
    shadow: v1
    stable: v1                # where a rollback goes
    mirror: {fraction: 0.05, after: success, timeout: 2s, max_in_flight: 64, max_body_bytes: 1MiB, mode: call,
             trust_header: false, headers: [], budget: {requests_per_day: null}, deduplicate: null}
    capture: {fraction: 1.0, max_bytes: 65536}
    tenant: {header: X-Tenant-Id, allow: [acme, initech], thresholds: {acme: {large: 0.3}}}
    reference: references/fraud.json
    window: {size: 1000}
    drift: {bins: 10, binning: equal_width, range: [0.05, 0.95], moderate: 0.1, large: 0.2, severe: 0.35, alpha: 1.0e-6}
    pairs: {tolerance: 0.01}
    labels: {keep: 100000}
"""
SHORTEST = "kafka: embedded\nmodels: [{name: fraud, targets: {v1: {url: 'http://m:1'}}, production: v1}]\n"


def read(directory: Path, text: str, environment: dict[str, str] | None = None) -> Configuration:
    """The configuration of a file with that text."""
    path = directory / "shadowdrift.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path, environment or {})


def test_the_example_of_the_contract_is_read_to_its_values(tmp_path: Path) -> None:
    """Every setting, by its own type, and equal to the defaults wherever the example shows the default."""
    found = read(tmp_path, CONTRACT)
    probe = Probe(str(tmp_path / "probe.json"), str(tmp_path / "answer.schema.json"))
    assert found == Configuration(
        kafka=Kafka("kafka:9092"),
        proxy=Proxy(
            "0.0.0.0:8080",
            "127.0.0.1:9101",
            2,
            Limits(Size(65536), None),
            Duration(10),
            None,
            Spool(Size(4 * 2**30)),
            Parse(Size(2**20)),
        ),
        exporter=Exporter("127.0.0.1:9108", None, ("metrics", "health")),
        rollback=Rollback("127.0.0.1:9109", None, True, "corroborated"),
        state_dir=str(tmp_path / "state"),
        models=(
            Model(
                name="fraud",
                path_prefix="/",
                inference=Inference(("POST",), ("/predict", "/v2/models/*/infer")),
                targets={
                    "v2": Target("http://model-v2:8080", Duration(30), probe),
                    "v1": Target("http://model-v1:8080"),
                },
                fallback=Fallback("v1"),
                production="v2",
                shadow="v1",
                stable="v1",
                mirror=Mirror(0.05, "success", Duration(2), 64, Size(2**20), "call", False, (), Budget(None), None),
                capture=Capture(1.0, Size(65536)),
                tenant=Tenant("X-Tenant-Id", ("acme", "initech"), {"acme": {"large": 0.3}}),
                reference=str(tmp_path / "references/fraud.json"),
                window=Window(1000),
                drift=Drift(10, "equal_width", (0.05, 0.95), 0.1, 0.2, 0.35, 1e-6),
                pairs=Pairs(0.01),
                labels=Labels(100_000),
            ),
        ),
    )
    assert (found.proxy, found.exporter, found.rollback) == (Proxy(), Exporter(), Rollback())
    assert (found.models[0].mirror, found.models[0].capture, found.models[0].drift) == (Mirror(), Capture(), Drift())
    assert type(found.proxy.limits.header_bytes) is Size
    assert type(found.models[0].mirror.timeout) is Duration


def test_what_the_file_does_not_say_has_its_default(tmp_path: Path) -> None:
    """The shortest file that there is."""
    found = read(tmp_path, SHORTEST)
    assert found == Configuration(
        kafka="embedded",
        models=(Model(name="fraud", targets={"v1": Target("http://m:1")}, production="v1"),),
        state_dir=str(tmp_path / "state"),
    )


def test_paths_are_relative_to_the_files_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the working directory is, and absolute ones stay."""
    (tmp_path / "etc").mkdir()
    monkeypatch.chdir(tmp_path)
    credentials = "mirror: {credentials: {value_file: shadow.token}}"
    text = SHORTEST.replace("production: v1", f"production: v1, reference: ../fraud.json, {credentials}") + (
        "state_dir: /var/lib/shadowdrift\nproxy: {token_file: token}\nexporter: {token_file: /run/token}\n"
    )
    found = read(Path("etc"), text)
    assert found.models[0].reference is not None
    assert os.path.normpath(found.models[0].reference) == str(tmp_path / "fraud.json")
    assert found.models[0].mirror.credentials is not None
    assert found.models[0].mirror.credentials.value_file == str(tmp_path / "etc" / "shadow.token")
    assert found.state_dir == "/var/lib/shadowdrift"
    assert found.proxy.token_file == str(tmp_path / "etc" / "token")
    assert found.exporter.token_file == "/run/token"


def test_the_paths_of_targets_and_fallback_are_relative_to_the_file_too(tmp_path: Path) -> None:
    """Each of them, and none where none is given."""
    text = (
        "kafka: embedded\nmodels:\n- name: fraud\n  production: v1\n  fallback: {body_file: safe.json}\n  targets:\n"
        "    v1: {url: ['https://a:1/x', 'https://b:1/x'], probe: {request: p.json, schema: /s.json},\n"
        "         tls: {ca_file: ca.pem, certificate_file: c.pem, key_file: k.pem, server_name: m.test}}\n"
        "    v2: {url: 'https://a:1', tls: {}}\n"
    )
    [model] = read(tmp_path, text).models
    v1, v2 = model.targets["v1"], model.targets["v2"]
    assert v1.urls == ("https://a:1/x", "https://b:1/x")
    assert model.fallback == Fallback(body_file=str(tmp_path / "safe.json"))
    assert v1.probe == Probe(str(tmp_path / "p.json"), "/s.json")
    assert v1.tls == TargetTls(*(str(tmp_path / name) for name in ("ca.pem", "c.pem", "k.pem")), "m.test")
    assert (v2.urls, v2.tls) == (("https://a:1",), TargetTls())


def test_variables_take_the_environment(tmp_path: Path) -> None:
    """Within a text, as a whole number where unquoted, and several in one; what has no braces stays."""
    text = SHORTEST.replace("http://m:1", "http://${HOST}:${PORT}") + (
        'proxy:\n  workers: ${WORKERS}\nstate_dir: "$HOME/${_dir1}"\n'
    )
    environment = {"HOST": "model", "PORT": "8080", "WORKERS": "3", "_dir1": "state"}
    found = read(tmp_path, text, environment)
    assert found.models[0].targets["v1"].url == "http://model:8080"
    assert found.proxy.workers == 3
    assert found.state_dir == str(tmp_path / "$HOME/state")


@pytest.mark.parametrize(
    ("environment", "workers", "state_dir"),
    [
        ({}, 2, "here/state"),
        ({"WORKERS": "", "DIR": ""}, 2, "here/state"),
        ({"WORKERS": "5", "DIR": "there"}, 5, "there/state"),
    ],
)
def test_a_variable_may_have_a_value_for_where_it_is_not_set(
    tmp_path: Path, environment: dict[str, str], workers: int, state_dir: str
) -> None:
    """Or empty, as in a shell; the value is a number where unquoted."""
    text = SHORTEST + 'proxy:\n  workers: ${WORKERS:-2}\nstate_dir: "${DIR:-here}/state${NONE:-}"\n'
    found = read(tmp_path, text, environment)
    assert (found.proxy.workers, found.state_dir) == (workers, str(tmp_path / state_dir))


def test_a_variable_in_quotes_stays_a_text(tmp_path: Path) -> None:
    """So that a version called 1 can come from the environment."""
    text = "kafka: embedded\nmodels: [{name: fraud, targets: {'1': {url: 'http://m:1'}}, production: '${VERSION}'}]\n"
    assert read(tmp_path, text, {"VERSION": "1"}).models[0].production == "1"


def test_a_variables_value_is_not_looked_through_again(tmp_path: Path) -> None:
    """A secret that holds `${…}` is that text, also where an alias leads to it a second time."""
    text = (
        "kafka: embedded\nstate_dir: &dir ${DIR}\nproxy: {token_file: *dir}\n"
        "models: [{name: fraud, targets: {v1: {url: 'http://m:1'}}, production: v1}]\n"
    )
    found = read(tmp_path, text, {"DIR": "/x/${OTHER}", "OTHER": "no"})
    assert (found.state_dir, found.proxy.token_file) == ("/x/${OTHER}", "/x/${OTHER}")


def test_anchors_and_merge_keys_are_taken(tmp_path: Path) -> None:
    """What a file says once for two models holds for both, and a key beside the merge wins."""
    text = """\
kafka: embedded
models:
  - &fraud
    name: fraud
    targets: {v1: {url: "http://m:1"}}
    production: v1
    mirror: {fraction: 0.01}
  - <<: *fraud
    name: churn
    path_prefix: /churn
"""
    first, second = read(tmp_path, text).models
    assert (second.name, second.path_prefix) == ("churn", "/churn")
    assert (second.targets, second.mirror) == (first.targets, first.mirror)


TEXTS: dict[str, str] = {
    "a date": "2026-11-20",
    "a time": "2026-11-20T10:00:00Z",
    "a quoted number": "'1'",
    "a quoted true": "'true'",
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_version_may_be_called(case: str, tmp_path: Path) -> None:
    """A date is a text here, as in YAML 1.2."""
    version = TEXTS[case]
    text = (
        f"kafka: embedded\nmodels:\n  - name: m\n    production: {version}\n"
        f"    targets:\n      ? {version}\n      : {{url: 'http://m:1'}}\n"
    )
    if case == "a time":
        with pytest.raises(Refusal, match=r"models\[0\]\.targets must be 1 to 64 of the characters"):
            read(tmp_path, text)
    else:
        model = read(tmp_path, text).models[0]
        assert list(model.targets) == [model.production] == [TEXTS[case].strip("'")]


@pytest.mark.parametrize(
    ("written", "value"), [("1e-6", 1e-6), ("1.0e-6", 1e-6), ("1E-3", 1e-3), ("0.5", 0.5), ("0", 0)]
)
def test_numbers_are_those_of_json(written: str, value: float, tmp_path: Path) -> None:
    """YAML 1.1 would take `1e-6` for a text."""
    text = SHORTEST.replace("production: v1", f"production: v1, drift: {{alpha: {written}}}")
    assert read(tmp_path, text).models[0].drift.alpha == value


DOCUMENTS: dict[str, str] = {"the contract's": CONTRACT, "the shortest": SHORTEST}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_a_resolved_configuration_comes_back_as_it_went(case: str, tmp_path: Path) -> None:
    """By both ways: a worker takes the text, a part of `up` reads it as a file elsewhere."""
    found = read(tmp_path, DOCUMENTS[case])
    text = resolved_document(found)
    (tmp_path / "elsewhere").mkdir()
    again = convert_resolved(text)
    assert again == found == read(tmp_path / "elsewhere", text)
    assert resolved_document(again) == text
    assert type(again.models[0].mirror.timeout) is Duration
    assert type(again.models[0].capture.max_bytes) is Size


@pytest.mark.parametrize(("said", "written"), [("allow", "refuse"), ("refuse", "allow"), ("refuse", "refuse")])
def test_a_schema_of_a_file_stands_in_its_place(said: str, written: str, tmp_path: Path) -> None:
    """So the parts of `up`, which get it resolved, can be started with it; and neither side can loosen the other."""
    fields = '{"fields": {"a": {"type": "number"}}, "unknown": "' + written + '"}'
    (tmp_path / "schema.json").write_text(fields)
    text = SHORTEST.replace("production: v1", f"production: v1, schema: {{file: schema.json, unknown: {said}}}")
    found = read(tmp_path, text)
    assert found.models[0].schema == Schema("observe", None, {"a": FieldSchema("number")}, "refuse")
    assert read(tmp_path, resolved_document(found)) == found


fractions = st.floats(0, 1)
seconds = st.floats(0.001, 3600)
sizes = st.integers(0, 2**50)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
paths = st.none() | st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Configurations that are right."""
    targets = draw(
        st.dictionaries(names, st.fixed_dictionaries({"url": st.just("http://m:80/x"), "timeout": seconds}), min_size=1)
    )
    versions = sorted(targets)
    model = {
        "name": draw(names),
        "targets": targets,
        "production": draw(st.sampled_from(versions)),
        "shadow": draw(st.none() | st.sampled_from(versions)),
        "reference": draw(paths),
        "mirror": {"fraction": draw(fractions), "timeout": draw(seconds), "deduplicate": draw(st.none() | seconds)},
        "capture": {"fraction": draw(fractions), "max_bytes": draw(st.integers(0, 2**20))},
        "window": {"size": draw(st.integers(10, 10**6))},
        "drift": {"alpha": draw(fractions), "binning": draw(st.sampled_from(["equal_width", "quantile"]))},
    }
    proxy = {
        "workers": draw(st.integers(1, 256)),
        "limits": {"body_bytes": draw(st.none() | sizes)},
        "token_file": draw(paths),
    }
    kafka = draw(st.sampled_from(["embedded", {"bootstrap_servers": "a:1,b:2"}]))
    return {"kafka": kafka, "models": [model], "proxy": proxy, "state_dir": draw(paths) or "state"}


@settings(max_examples=150, derandomize=True, deadline=None)
@given(documents())
def test_any_resolved_configuration_comes_back_as_it_went(document: dict[str, Any]) -> None:
    """Floats and sizes to the last digit."""
    found = convert(document, Path("/etc/shadowdrift"), "test")
    assert convert_resolved(resolved_document(found)) == found


def test_sections_are_frozen(tmp_path: Path) -> None:
    """Nobody changes a setting behind another's back."""
    found = read(tmp_path, SHORTEST)
    with pytest.raises(AttributeError):
        found.proxy.workers = 9  # type: ignore[misc]
    assert msgspec.structs.replace(found.proxy, workers=9).workers == 9
