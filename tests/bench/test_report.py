"""What a run keeps can be read again, and what is committed follows from what was measured."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.cost import Cost
from bench.figures import Rounds, bounds, ratios, subject_figures
from bench.machine import machine
from bench.measurement import OURS, SUBJECTS
from bench.report import Results, Settings, load, markdown, results, save
from bench.soak import Soak
from bench.soak import markdown as soak_markdown
from tests.bench.test_figures import measured

COMMITTED = Path(__file__).parents[2] / "bench" / "results"


def small() -> Results:
    """Results of a run of one round."""
    measurements = [measured(1, subject, "none" if subject == "direct" else "healthy") for subject in SUBJECTS]
    settings = Settings(1, 1, 1000.0, 16, 300, 20, 5)
    cost = Cost("pace", 1000, 999.5, 1050, {"worker": 12.3456789, "emitter": 3.0})
    return results(machine(), {"nginx": "1"}, settings, [0.02, 0.04], measurements, [cost])


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    """Six digits of each figure; the page is made of the same."""
    page = save(small(), tmp_path)
    found = load(tmp_path / "proxy.json")
    assert markdown(found) == page == (tmp_path / "proxy.md").read_text()
    assert found.cost[0].cpu_seconds_per_million["worker"] == 12.3457
    assert "| proxy: the workers together | 12.3 |" in page


def unknown_key(document: dict[str, Any]) -> None:
    """One more."""
    document["settings"]["hurry"] = True


def missing_figure(document: dict[str, Any]) -> None:
    """A median is gone."""
    del document["subjects"][OURS]["worker_us"]["median"]


def a_text_for_a_number(document: dict[str, Any]) -> None:
    """Quoted."""
    document["measurements"][0]["requests"] = "1000"


@pytest.mark.parametrize("spoil", [unknown_key, missing_figure, a_text_for_a_number])
def test_a_file_of_another_form_is_refused(tmp_path: Path, spoil: Any) -> None:
    """So the check of the committed file can fail."""
    save(small(), tmp_path)
    document = json.loads((tmp_path / "proxy.json").read_text())
    spoil(document)
    (tmp_path / "proxy.json").write_text(json.dumps(document))
    with pytest.raises(msgspec.ValidationError):
        load(tmp_path / "proxy.json")


def test_the_committed_figures_follow_from_the_committed_measurements() -> None:
    """Nobody has touched them up; and the page tells the same."""
    found = load(COMMITTED / "proxy.json")
    rounds = Rounds(found.measurements)
    assert rounds.numbers == list(range(1, found.settings.rounds + 1))
    assert set(found.subjects) == set(SUBJECTS)
    for subject, figures in found.subjects.items():
        assert msgspec.to_builtins(subject_figures(rounds, subject)) == close(msgspec.to_builtins(figures))
    for peer, figures in found.ratios.items():
        assert msgspec.to_builtins(ratios(rounds, peer)) == close(msgspec.to_builtins(figures))
    assert [one.meets for one in bounds(found.subjects, found.ratios)] == [one.meets for one in found.bounds]
    assert (COMMITTED / "proxy.md").read_text() == markdown(found)


def close(figures: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Equal but for rounding: what is small is the difference of rounded numbers."""
    return {name: pytest.approx(spread, rel=1e-3, abs=1e-5) for name, spread in figures.items()}


def test_the_committed_soak_is_what_its_page_tells() -> None:
    """Its growth is the highest sample's."""
    found = msgspec.json.decode((COMMITTED / "soak.json").read_bytes(), type=Soak)
    assert (COMMITTED / "soak.md").read_text() == soak_markdown(found)
    highest = max(sum(sample.values()) for sample in found.samples)
    assert found.growth_mib == pytest.approx(highest - sum(found.before.values()), abs=0.01)


@pytest.mark.parametrize("name", ["proxy.json", "soak.json"])
def test_results_tell_nothing_of_whose_machine_it_was(name: str) -> None:
    """No path and no address."""
    text = (COMMITTED / name).read_text()
    assert re.findall(r"""(?<![\w.])/\w+|://|\d+\.\d+\.\d+\.\d+|localhost""", text) == []
