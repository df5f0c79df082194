"""Figures are medians over rounds, and ratios within one."""

from typing import Any

import pytest

from bench.figures import Rounds, Spread, bounds, judged, ratios, subject_figures
from bench.measurement import DIRECT, ENVOY, OURS, Load, Measurement, Shadow


def measured(
    number: int, subject: str, shadow: Shadow = "healthy", load: Load = "saturation", **other: Any
) -> Measurement:
    """A measurement with round numbers, but for what is named."""
    given: dict[str, Any] = {
        "requests": 1_000_000,
        "seconds": 10.0,
        "p50_ms": 1.0,
        "p99_ms": 2.0,
        "failures": 0,
        "changed": None,
        "cloned": 50_000,
        "cpu_seconds": {"worker": 40.0},
    }
    given["sent"] = (given | other)["requests"]
    return Measurement(round=number, subject=subject, shadow=shadow, load=load, **(given | other))


def test_cpu_of_a_request_is_the_median_over_the_rounds_with_the_extremes_beside_it() -> None:
    """One round that something disturbed moves the median little."""
    rounds = Rounds(measured(number, OURS, cpu_seconds={"worker": used}) for number, used in enumerate((40, 90, 42)))
    assert subject_figures(rounds, OURS)["worker_us"] == Spread(42.0, 40.0, 90.0)


def test_a_ratio_is_of_the_same_round() -> None:
    """Both halve as the machine slows down: the ratio stays, though medians of different rounds would differ."""
    rounds = Rounds(
        one
        for number, slow in enumerate((1.0, 2.0, 3.0))
        for one in (
            measured(number, OURS, cpu_seconds={"worker": 30 * slow, "emitter": 15 * slow}, seconds=10 * slow),
            measured(number, ENVOY, cpu_seconds={"worker": 60 * slow}, seconds=20 * slow),
        )
    )
    found = ratios(rounds, ENVOY)
    assert found["worker_us"] == Spread(0.5, 0.5, 0.5)
    assert found["worker_and_emitter_us"] == Spread(0.75, 0.75, 0.75)
    assert found["requests_per_second"] == Spread(2.0, 2.0, 2.0)


def test_a_round_that_lacks_one_of_the_two_is_left_out() -> None:
    """Nothing is compared with another round's."""
    rounds = Rounds([measured(1, OURS), measured(2, OURS), measured(2, ENVOY, cpu_seconds={"worker": 80.0})])
    assert ratios(rounds, ENVOY)["worker_us"] == Spread(0.5, 0.5, 0.5)
    assert ratios(Rounds([measured(1, OURS), measured(2, ENVOY)]), ENVOY) == {}


def test_what_is_added_is_over_direct_at_the_constant_rate() -> None:
    """Of the same round too."""
    rounds = Rounds(
        [
            measured(1, DIRECT, "none", "pace", p50_ms=0.1, p99_ms=0.2),
            measured(1, OURS, "healthy", "pace", p50_ms=0.4, p99_ms=1.2),
            measured(2, DIRECT, "none", "pace", p50_ms=0.2, p99_ms=0.9),
            measured(2, OURS, "healthy", "pace", p50_ms=0.3, p99_ms=1.0),
        ]
    )
    figures = subject_figures(rounds, OURS)
    assert figures["added_p50_ms"].median == pytest.approx(0.2)
    assert figures["added_p99_ms"].median == pytest.approx(0.55)
    assert "added_p50_ms" not in subject_figures(rounds, DIRECT)


def test_a_hung_shadow_is_held_against_a_healthy_one() -> None:
    """Its failures are counted apart."""
    rounds = Rounds(
        [
            measured(1, OURS, failures=1),
            measured(1, OURS, "hung", requests=900_000, p99_ms=2.2, failures=3),
            measured(1, OURS, "healthy", "pace", changed=0, failures=1),
            measured(1, OURS, "hung", "pace", p99_ms=3.0, changed=2),
        ]
    )
    figures = subject_figures(rounds, OURS)
    assert figures["hung_requests_ratio"].median == pytest.approx(0.9)
    assert figures["hung_saturated_p99_ratio"].median == pytest.approx(1.1)
    assert figures["hung_paced_p99_ratio"].median == pytest.approx(1.5)
    assert [figures[name].median for name in ("failures", "hung_failures", "changed")] == [2, 3, 2]


def test_the_requests_of_a_warm_up_share_the_cpu_and_the_clones() -> None:
    """They are no part of the rate."""
    figures = subject_figures(Rounds([measured(1, OURS, "healthy", "pace", sent=2_000_000)]), OURS)
    assert figures["paced_worker_us"].median == 20.0


def test_a_process_that_a_subject_lacks_has_no_figure() -> None:
    """nginx has no emitter."""
    figures = subject_figures(Rounds([measured(1, ENVOY)]), ENVOY)
    assert "emitter_us" not in figures
    assert "worker_and_emitter_us" not in figures
    assert "events_lost" not in figures
    assert figures["cloned_ratio"].median == 0.05


@pytest.mark.parametrize(
    ("value", "must", "aim", "less", "meets"),
    [
        (0.7, 0.75, 0.6, True, "must"),
        (0.6, 0.75, 0.6, True, "aim"),
        (0.8, 0.75, 0.6, True, "neither"),
        (0.9, 0.85, 0.95, False, "must"),
        (0.95, 0.85, 0.95, False, "aim"),
        (0.8, 0.85, 0.95, False, "neither"),
        (9.9, None, 1.3, True, "neither"),
        (1.0, 1.0, None, False, "must"),
        (float("nan"), 1.0, 1.0, True, "neither"),
    ],
)
def test_a_bound_is_met_or_not(value: float, must: float | None, aim: float | None, less: bool, meets: str) -> None:
    """Equal is met; a bound that is not set is not; what is no number meets none."""
    assert judged("a figure", value, must, aim, less=less).meets == meets


def test_bounds_are_told_of_what_was_measured_alone() -> None:
    """A run with a part of the subjects judges that part."""
    rounds = Rounds([measured(1, OURS), measured(1, ENVOY, cpu_seconds={"worker": 60.0})])
    found = bounds({OURS: subject_figures(rounds, OURS)}, {ENVOY: ratios(rounds, ENVOY)})
    assert [(one.figure, one.meets) for one in found if "CPU" in one.figure] == [
        ("CPU per request, worker, of Envoy's", "must")
    ]
    assert not any("nginx" in one.figure for one in found)
