"""The shipped rules in a hurry: everything that they ask stays."""

import re

import pytest
import yaml

from tests.support.prometheus import RULES, quick

_RATE = re.compile(r"(\brate\([^\[\n]*\[)\w+\]")
_ANY_RATE = r"\1…]"


@pytest.mark.parametrize("name", [file.name for file in RULES])
def test_only_patience_and_the_span_of_rates_differ(name: str) -> None:
    """Every alert is there, with its labels, its texts and its expression."""
    shipped = next(file for file in RULES if file.name == name).read_text()
    hurried = quick(shipped, 100, rates=6)
    assert len(_waits(hurried)) == len(_waits(shipped)) > 0
    assert _without_waits(hurried) == _without_waits(shipped)
    assert all(wait.endswith("ms") for wait in _waits(hurried))


def test_a_minutes_wait_becomes_a_part_of_it_and_a_minutes_rate_ten_seconds() -> None:
    """A rate over less than four seconds would see too few scrapes."""
    assert quick("  for: 1m\n", 100) == "  for: 600ms\n"
    assert quick('rate(x{a="b"}[1m]) + max(y[1m])\n', 1, 6) == 'rate(x{a="b"}[10s]) + max(y[1m])\n'
    assert quick("rate(x[1m])\n", 1, 60) == "rate(x[4s])\n"


def _rules(text: str) -> list[dict[str, object]]:
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def _waits(text: str) -> list[str]:
    return [str(rule[key]) for rule in _rules(text) for key in ("for", "keep_firing_for") if key in rule]


def _without_waits(text: str) -> list[dict[str, object]]:
    rules = _rules(_RATE.sub(_ANY_RATE, text))
    return [{key: value for key, value in rule.items() if key not in {"for", "keep_firing_for"}} for rule in rules]
