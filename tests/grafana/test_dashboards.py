"""The dashboards: their shape, that what is committed is current, and that each query finds data in a real run."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana import dashboards
from tests.grafana.conftest import BESIDE, GROWING
from tests.prometheus.cases import CASES
from tests.support.prometheus import CHECKOUT, RULES, Prometheus
from tests.support.real_run import MODEL

DASHBOARD: dict[str, Any] = json.loads((dashboards.FOLDER / "prod-vs-shadow.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
EVERY = [rule for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
NAMED = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in EVERY]
LATER = {rule["record"] for rule in EVERY if "record" in rule and "offset" in rule["expr"]}
"""Recorded once a Prometheus has run for as long as they look back."""
_PARTS = "drift|events|inference|mirror|nginx|proxy|rollback|shadowdrift"
_METRIC = rf"\b(?:up|(?:[a-z]+_)*[a-z]+:[a-z_]+:[a-z0-9_]+|(?:{_PARTS})_\w+)\b"
_FILLED = {
    "$model": MODEL,
    "$tenant": "_all",
    "$__rate_interval": "10s",
    "$__range": "1m",
}


def _filled(expression: str) -> str:
    """The query as Grafana would send it."""
    for name, value in _FILLED.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def test_what_is_committed_is_what_the_code_makes() -> None:
    """`python -m grafana.dashboards --check`."""
    assert dashboards.main(["--check"]) == 0


def test_a_stale_file_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what to do about it; and writing mends it."""
    monkeypatch.setattr(dashboards, "FOLDER", tmp_path)
    assert dashboards.main([]) == 0
    (tmp_path / "prod-vs-shadow.json").write_text("{}")
    assert dashboards.main(["--check"]) == 1
    assert capsys.readouterr().err == (
        "grafana/dashboards/prod-vs-shadow.json is not current: run python -m grafana.dashboards\n"
    )
    assert dashboards.main([]) == 0
    assert dashboards.main(["--check"]) == 0


def test_the_dashboard_has_the_classic_schema() -> None:
    """Which Grafana provisions from files."""
    assert isinstance(DASHBOARD["panels"], list)
    assert isinstance(DASHBOARD["schemaVersion"], int)
    assert "elements" not in DASHBOARD
    assert "apiVersion" not in DASHBOARD


def test_panels_have_different_ids() -> None:
    """Rows among them."""
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_panels_lie_on_the_grid_and_none_over_another() -> None:
    """24 columns."""
    places = [(panel["title"], panel["gridPos"]) for panel in DASHBOARD["panels"]]
    for title, place in places:
        assert place["x"] + place["w"] <= 24, title
    for (one, a), (other, b) in itertools.combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or above, f"{one} and {other}"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_says_its_unit_its_source_and_what_to_do_with_it(panel: dict[str, Any]) -> None:
    """And queries nothing else than the dashboard's own source."""
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert len(panel["description"]) > 40
    assert panel["targets"]
    for part in (panel, *panel["targets"]):
        assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for page in re.findall(r"docs/\S+?\.md", panel["description"]):
        assert (CHECKOUT / page).exists()


def test_the_provisioned_source_and_folder_are_those_of_the_dashboard() -> None:
    """The files that Grafana reads when it starts."""
    folder = CHECKOUT / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((folder / "dashboards" / "shadowdrift.yml").read_text())["providers"]
    assert source["type"] == DASHBOARD["templating"]["list"][0]["query"] == "prometheus"
    assert source["isDefault"]
    assert provider["type"] == "file"


def _there(server: Prometheus, names: set[str]) -> bool:
    """Whether every one of the metrics is there."""
    return names <= set(server.label_values("__name__", '{__name__!=""}'))


def _where(expression: str, scraped: Prometheus, played: Prometheus) -> Prometheus:
    """The real run where it shows all that is asked for; it has no labels, tenants, texts and no rollback."""
    names = set(re.findall(_METRIC, expression))
    assert names, expression
    if _there(scraped, names):
        return scraped
    assert _there(played, names), names
    return played


@pytest.mark.parametrize(("title", "query"), QUERIES, ids=[f"{title}-{n}" for n, (title, _) in enumerate(QUERIES)])
def test_a_panels_query_returns_data(title: str, query: str, scraped: Prometheus, played: Prometheus) -> None:
    """From a real Prometheus, of a real run where there is such a thing; numbers, not only NaN."""
    where = _where(query, scraped, played)
    if 'tenant!~"_all' in query:
        where = played  # the run has no tenants
    found = where.query(_filled(query))
    assert found, title
    assert any(sample["value"][1] != "NaN" for sample in found), title


def test_what_is_played_is_of_metrics_that_are_documented() -> None:
    """By name and by labels."""
    text = (CHECKOUT / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `([a-z_]+)` \| \w+(?: 1)? \| ([a-z_, ]*) \|", text, re.MULTILINE)
    documented = {name: {label.strip() for label in labels.split(",")} - {""} for name, labels in rows}
    own = {"nginx_proxy_answers", "up"}
    cases = [(series.name, series.labels) for case in CASES for series in case.series]
    for name, labels in [*cases, *((name, labels) for name, labels, _ in (*BESIDE, *GROWING))]:
        plain = re.sub("_(bucket|count)$", "", name)
        if plain in documented:
            assert labels.keys() - {"job", "instance", "le"} == documented[plain], name
        else:
            assert plain in own, name


@pytest.mark.parametrize("variable", DASHBOARD["templating"]["list"][1:], ids=lambda variable: variable["name"])
def test_a_variable_offers_what_there_is(variable: dict[str, Any], scraped: Prometheus) -> None:
    """The model, and the tenant that stands for all of it."""
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
    assert found
    assert scraped.label_values(found[2], _filled(found[1])) == [_FILLED[f"${variable['name']}"]]


@pytest.mark.parametrize(("name", "expression"), NAMED, ids=[f"{name}-{n}" for n, (name, _) in enumerate(NAMED)])
def test_a_rules_expression_reads_series_that_there_are(
    name: str, expression: str, scraped: Prometheus, played: Prometheus
) -> None:
    """Each of its selectors; the whole of an alert returns nothing in a run that is well."""
    for selector in re.findall(rf"{_METRIC}(?:{{[^}}]*}})?", expression):
        metric = selector.partition("{")[0]
        assert metric in LATER or scraped.query(metric) or played.query(metric), f"{name}: {metric}"
    found = scraped.query(expression)
    if ":" not in name:
        # The run's shadow is biased on purpose.
        assert found == [] or name in {"Watchdog", "ShadowDisagreement"}


def test_the_logs_panel_asks_for_labels_that_fluent_bit_sets_from_the_source_that_is_provisioned() -> None:
    """No Loki runs here, so the names on both sides are held together."""
    made = json.loads((dashboards.FOLDER / "logs.json").read_text())
    (panel,) = made["panels"]
    assert panel["type"] == "logs"
    (target,) = panel["targets"]
    asked = set(re.findall(r"(\w+)=~?\"", target["expr"]))
    (config,) = (CHECKOUT / "stack" / "fluent-bit").glob("*.y*ml")
    outputs = yaml.safe_load(config.read_text())["pipeline"]["outputs"]
    labels = {pair.split("=")[0].strip() for pair in outputs[0]["labels"].split(",")}
    assert asked <= labels
    sources = yaml.safe_load((CHECKOUT / "grafana/provisioning/datasources/loki.yml").read_text())["datasources"]
    assert target["datasource"] == {"type": sources[0]["type"], "uid": sources[0]["uid"]}
    used = set(re.findall(r"\$(\w+)", target["expr"]))
    assert used == {variable["name"] for variable in made["templating"]["list"]}
