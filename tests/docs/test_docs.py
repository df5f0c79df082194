"""The documentation is complete: every command, every setting with its default, every metric."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import msgspec.inspect as inspect
import pytest
from prometheus_client.core import Metric

from cli.main import COMMANDS
from configuration import Configuration
from configuration.rules import Section
from configuration.units import Duration, Size
from events.obstacles import Obstacle
from exporter.showing.collect import Collector
from proxy.layout import FAMILIES
from rollback.counters import RollbackMetrics
from rollback.journal import Latch, Memory
from tests.exporter.making import Desk, model

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REQUIRED = "required"
OF_THE_EXPOSITION = {
    "inference_active_info",
    "inference_active_refused",
    "inference_paused",
    "inference_traffic_ratio",
    "shadowdrift_build_info",
    "shadowdrift_config_last_reload_success",
    "shadowdrift_worker_restarts_total",
}
"""What the proxy tells beside its counted families."""


class Silent:
    """A source of events with nothing to tell."""

    obstacle: Obstacle | None = None

    def lag(self) -> dict[tuple[str, int], int]:
        """One partition, so that its labels show."""
        return {("inference.production", 0): 0}

    def certain(self) -> bool:
        """Nobody else can own what we own."""
        return True


def rows(name: str, section: str = "") -> dict[str, list[str]]:
    """The tables of a page, or of a section of it: each row's other cells by the name in its first."""
    text = (DOCS / name).read_text()
    if section:
        text = text.partition(f"\n## {section}")[2].partition("\n## ")[0]
        assert text, f"{name} has no section {section}"
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("| `"):
            first, *rest = [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")]
            name_of_row = first.strip("`")
            assert not section or name_of_row not in found, f"{first} stands twice in {name}"
            found[name_of_row] = rest
    return found


def kinds(kind: inspect.Type) -> Iterator[inspect.Type]:
    """A type, and those that it is made of."""
    yield kind
    if isinstance(kind, inspect.UnionType):
        for part in kind.types:
            yield from kinds(part)


def settings_of(section: type[msgspec.Struct], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting's path and default; one that is a section with a default is told by its own settings alone."""
    info = inspect.type_info(section)
    assert isinstance(info, inspect.StructType)
    for field in info.fields:
        name = f"{path}.{field.encode_name}" if path else field.encode_name
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        if not isinstance(default, Section):
            yield name, REQUIRED if default is msgspec.NODEFAULT else default
        for kind in kinds(field.type):
            if isinstance(kind, inspect.StructType):
                yield from settings_of(kind.cls, name)
            elif isinstance(kind, inspect.VarTupleType) and isinstance(kind.item_type, inspect.StructType):
                yield from settings_of(kind.item_type.cls, f"{name}[]")
            elif isinstance(kind, inspect.DictType) and isinstance(kind.value_type, inspect.StructType):
                yield from settings_of(kind.value_type.cls, f"{name}.*")


def written(default: Any) -> set[str]:
    """The ways to write a default."""
    if default is REQUIRED:
        return {REQUIRED}
    if isinstance(default, Duration):
        return {f"`{default:g}s`"}
    if isinstance(default, Size):
        units = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
        return {f"`{default // size}{unit}`" for unit, size in units.items() if default % size == 0} | {f"`{default}`"}
    if isinstance(default, tuple | list):
        plain = ", ".join(str(item) for item in default)
        return {f"`[{plain}]`", "`[" + ", ".join(f'"{item}"' for item in default) + "]`"}
    if default is None or isinstance(default, bool | dict):
        return {f"`{msgspec.json.encode(default).decode()}`"}
    return {f"`{default}`"}


SETTINGS = dict(settings_of(Configuration))


def test_the_walk_finds_the_settings() -> None:
    """Or the tests below would prove nothing."""
    assert SETTINGS["models[].mirror.fraction"] == 0.05
    assert SETTINGS["models[].targets.*.url"] == REQUIRED
    assert SETTINGS["proxy.limits.header_bytes"] == 65536
    assert SETTINGS["models[].tenant.thresholds"] == {}
    assert len(SETTINGS) > 50


@pytest.mark.parametrize("path", SETTINGS)
def test_every_setting_is_documented_with_its_default(path: str) -> None:
    """A row each in docs/configuration.md: path, default, meaning."""
    default, _ = rows("configuration.md")[path]
    assert default in written(SETTINGS[path])


def test_no_setting_is_documented_that_is_none() -> None:
    """A renamed one leaves no old row behind."""
    assert set(rows("configuration.md")) - set(SETTINGS) == set()


def test_no_setting_waits_for_a_later_version() -> None:
    """All that can be set has its effect."""
    assert not [path for path, (_, meaning) in rows("configuration.md").items() if "*later*" in meaning]


def exporter_families() -> dict[str, tuple[str, set[str]]]:
    """The exporter's families: kind, and the labels of the samples that an empty exporter has."""
    desk = Desk(model())
    collector = Collector(desk.intake, Silent(), lambda: 0.0, lambda: 0.0)
    return {
        family.name: (family.kind, {name for labels, _ in family.samples for name, _ in labels})
        for family in collector.families()
    }


def test_every_metric_of_the_proxy_is_documented() -> None:
    """With its kind and its labels."""
    found = rows("metrics.md", "The proxy's")
    for family in FAMILIES.values():
        if family.kind != "internal":
            kind, labels, _ = found[family.name]
            assert kind.removesuffix(" 1") == family.kind, family.name
            assert tuple(label for label in labels.split(", ") if label) == family.labels, family.name


def test_every_metric_of_the_exporter_is_documented() -> None:
    """With its kind, and with the labels of what there is to see of it."""
    found = rows("metrics.md", "The exporter's")
    for name, (kind, labels) in exporter_families().items():
        assert name in found
        assert found[name][0].removesuffix(" 1") == kind, name
        assert labels <= set(found[name][1].split(", ")), name


def rollback_families() -> dict[str, Metric]:
    """The rollback's, with a sample of each."""
    metrics = RollbackMetrics({"m": Memory(latch=Latch(0.0, "", "v1"), switched_at=0.0)}, ("nginx",), dry_run=True)
    metrics.noticed("slack", "sent")
    return {family.name + ("_total" if family.type == "counter" else ""): family for family in metrics.collect()}


def test_every_metric_of_the_rollback_is_documented() -> None:
    """With its kind and its labels."""
    found = rows("metrics.md", "The rollback's")
    for name, family in rollback_families().items():
        kind, labels, _ = found[name]
        assert kind.removesuffix(" 1") == family.type, name
        assert {label for label in labels.split(", ") if label} == set(family.samples[0].labels), name


def test_no_metric_is_documented_that_is_none() -> None:
    """Of no part."""
    assert set(rows("metrics.md", "The rollback's")) == set(rollback_families())
    shown = {family.name for family in FAMILIES.values() if family.kind != "internal"} | OF_THE_EXPOSITION
    assert set(rows("metrics.md", "The proxy's")) == shown
    assert set(rows("metrics.md", "The exporter's")) == set(exporter_families())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_stands_in_the_readme(name: str) -> None:
    """As somebody would type it."""
    readme = (ROOT / "README.md").read_text()
    assert re.search(rf"(shadowdrift|make) {name}\b", readme)


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in sorted(DOCS.glob("*.md")))])
def test_every_link_between_pages_leads_somewhere(page: str) -> None:
    """Files and folders of this checkout; the outside is not asked."""
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), target
