"""The page of the exporter's figures says what the measurements say."""

import json
from pathlib import Path

from bench.exporter_page import markdown

RESULTS = Path(__file__).parents[2] / "bench" / "results"


def test_the_page_follows_from_the_measurements() -> None:
    """Nobody edits a figure by hand."""
    found = json.loads((RESULTS / "exporter.json").read_text())
    assert (RESULTS / "exporter.md").read_text() == markdown(found)
