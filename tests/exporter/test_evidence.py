"""The evidence: one document with all that is known of a model, and who may read it."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import numpy as np
import pytest

from admin.server import AdminServer
from evidence.document import ALL, Evidence, decode, encode
from evidence.schema import FILE
from exporter.showing.collect import Collector
from exporter.showing.comparisons import Comparer
from exporter.showing.endpoint import EvidenceEndpoint
from exporter.showing.evidence import Witness
from tests.exporter.making import PARTITIONS, Desk, event, model, profile, record
from tests.exporter.test_collect import Clock, Log, of, scrape

TOKEN = "secret"
NOW = 1_790_000_100.0
TENANTS = ("acme", "initech")


def moved(shift: float, **fields: Any) -> list[Any]:
    """Forty requests of both roles of one tenant, their amounts shifted; the shadow answers half of them."""
    chance = np.random.default_rng(7)
    made = []
    for number in range(40):
        country = str(chance.choice(["DE", "FR", "US"]))
        row = {"amount": float(chance.normal() + shift), "country": country, "more": 1}
        mine = {"id": f"{fields['tenant']}-{number}", "time": 1_790_000_000.0 + number, **fields}
        mine["prediction"] = float(chance.random())
        made.append(record(event(row, **mine)))
        if number % 2:
            made.append(record(event(row, **mine, role="shadow", version="v1")))
    return made


@pytest.fixture
def desk() -> Desk:
    """A model with drift in one tenant."""
    desk = Desk(model(size=50, tenants=TENANTS), profiles=[profile(5_000)])
    desk.take(*moved(0.0, tenant="initech"), *moved(9.0, tenant="acme"))
    return desk


def witness(desk: Desk) -> Witness:
    """Who tells of it."""
    return Witness(desk.intake, Log({("inference.production", 2): 7}), Comparer(), Clock(NOW))


def found(desk: Desk) -> Evidence:
    """Of the only model, having been written and read."""
    evidence = witness(desk).of("fraud")
    assert evidence is not None
    jsonschema.validate(json.loads(encode(evidence)), json.loads(FILE.read_text()))
    return decode(encode(evidence))


def test_it_says_what_the_gauges_say(desk: Desk) -> None:
    """Nobody can read one thing on the page and be paged for another."""
    evidence, samples = found(desk), scrape(desk)
    assert len(evidence.comparisons) == 2 * len((ALL, *TENANTS, "_other"))
    for each in evidence.comparisons:
        labels = {"tenant": each.tenant, "against": each.against}
        assert of(samples, "drift_features", **labels) == [len(each.features)]
        for feature in each.features:
            mine = {**labels, "feature": feature.feature}
            assert of(samples, "drift_psi", **mine) == [feature.psi]
            assert of(samples, "drift_js_divergence", **mine) == [feature.js]
            assert of(samples, "drift_psi_critical", **mine) == [feature.critical]
            assert of(samples, "drift_psi_pvalue", **mine) == [feature.pvalue]
            assert of(samples, "drift_feature_drifted", **mine, level="large") == [feature in each.at("large")]
        assert of(samples, "drift_features_drifted", **labels, level="large") == [len(each.at("large"))]
    assert of(samples, "drift_tenants_drifted") == [1.0]
    assert evidence.tenants_drifted == ("acme",)


def test_values_stand_beside_what_it_takes_to_judge_them(desk: Desk) -> None:
    """Sizes, age, thresholds, the reference, and what waits."""
    evidence = found(desk)
    window = evidence.window("production", "acme")
    assert window is not None
    assert (window.instances, window.size, window.warming, window.version) == (40, 50, True, "v2")
    assert (window.oldest, window.newest) == (1_790_000_000.0, 1_790_000_039.0)
    assert evidence.freshness.production == evidence.freshness.shadow == 1_790_000_039.0
    assert (evidence.generated_at, evidence.production, evidence.shadow) == (NOW, "v2", "v1")
    assert (evidence.reference.source, evidence.reference.rows) == ("profile", 5_000)
    assert evidence.unknown_features == ("more",)
    comparison = evidence.comparison("shadow", "acme")
    assert comparison is not None
    assert comparison.shared_instances == 20
    assert comparison.thresholds == {"moderate": 0.1, "large": 0.2, "severe": 0.35}


def test_the_bins_that_moved_are_named(desk: Desk) -> None:
    """The one above all that the reference has takes everything."""
    comparison = found(desk).comparison("reference", "acme")
    assert comparison is not None
    amount = next(feature for feature in comparison.features if feature.feature == "amount")
    assert amount.level == "severe"
    assert amount.bins[0].production == 1.0
    assert amount.bins[0].bin.endswith("+inf)")
    assert amount.bins[0].other == pytest.approx(0.05, abs=0.01)
    assert len(amount.bins) == 3


def test_only_messages_of_the_models_own_partition_are_its_lag(desk: Desk) -> None:
    """Another partition's backlog makes no evidence old."""
    own = desk.intake.partition("fraud")
    lag = {("inference.production", own): 3, ("inference.shadow", own): 4, ("inference.shadow", own + 1): 50}
    evidence = Witness(desk.intake, Log(lag), Comparer(), Clock(NOW)).of("fraud")
    assert evidence is not None
    assert evidence.freshness.lag_events == 7


def test_a_model_without_a_reference_has_windows_and_no_comparison() -> None:
    """What is not known is not made up."""
    desk = Desk(profiles=[None])
    desk.take(record(event({"amount": 1.0})))
    evidence = found(desk)
    assert (evidence.reference.source, evidence.reference.state) == ("warmup", "collecting")
    assert evidence.comparisons == ()
    assert evidence.window("production") is not None


Ask = Callable[..., Any]


@pytest.fixture
async def ask(desk: Desk, tmp_path: Path) -> AsyncIterator[Ask]:
    """Serves the evidence behind a token, and asks for it."""
    (tmp_path / "token").write_text(TOKEN)
    comparer = Comparer()
    collector = Collector(desk.intake, Log({}), Clock(0.0), Clock(NOW), comparer)
    servers: list[AdminServer] = []

    async def answer(path: str, token: str | None = TOKEN, opened: tuple[str, ...] = ("metrics",)) -> Any:
        server = AdminServer(
            collector.metrics,
            lambda: None,
            token_file=str(tmp_path / "token"),
            open_without_token=opened,
            routes=EvidenceEndpoint(Witness(desk.intake, Log({}), comparer, Clock(NOW))).routes,
        )
        servers.append(server)
        address = await server.start("exporter.listen", "127.0.0.1:0")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with aiohttp.ClientSession() as session, session.get(f"http://{address}{path}", headers=headers) as got:
            return got.status, await got.text()

    yield answer
    for server in servers:
        await server.stop()


async def test_the_endpoint_serves_the_document(ask: Ask) -> None:
    """As JSON that its reader takes."""
    status, body = await ask("/evidence/fraud")
    assert status == 200
    assert decode(body.encode()).model == "fraud"


async def test_it_needs_the_token_unless_it_is_open(ask: Ask) -> None:
    """As every endpoint but those that `exporter.open` names."""
    assert (await ask("/evidence/fraud", token=None))[0] == 401
    assert (await ask("/evidence/fraud", token="wrong"))[0] == 401
    assert (await ask("/evidence/fraud", token=None, opened=("evidence",)))[0] == 200
    assert (await ask("/metrics", token=None, opened=("evidence",)))[0] == 401


@pytest.mark.parametrize("path", ["/evidence/nobody", "/evidence/%0A%22%7D", "/evidence/fraud%2F", "/evidence/fraud/"])
async def test_an_unknown_model_is_one_line_of_json(ask: Ask, path: str) -> None:
    """Whatever its name."""
    status, body = await ask(path)
    assert status == 404
    assert "\n" not in body
    assert "fraud" in json.loads(body)["error"]


async def test_a_model_that_has_gone_to_another_process_is_unknown_here(ask: Ask, desk: Desk) -> None:
    """One owner for each model's evidence."""
    for partition in range(PARTITIONS):
        desk.intake.disown(partition)
    assert (await ask("/evidence/fraud"))[0] == 404
