"""What the demo concludes from readings, without running anything."""

from demo.drift import Expectation
from demo.observed import Observed
from demo.readings import Reading, broken_laws, parse

EXPECTATION = Expectation({"temp": 2.0, "carrier": 0.01}, ["temp"], ["carrier"])


ACCURACY = {"production": 0.8, "shadow": 0.75}


def exporter(filled: int = 1000, events: int = 0, missing: float = 0.0, **psi: float) -> Reading:
    """The exporter's text with one window and these gauges; `missing` is the share of temp's values."""
    lines = [f'drift_window_instances{{model="m",tenant="_all",role="production"}} {filled}']
    lines += [
        f'drift_psi{{model="m",tenant="_all",feature="{name}",against="reference"}} {value}'
        for name, value in psi.items()
    ]
    lines += [f'drift_psi{{model="m",tenant="acme",feature="{name}",against="reference"}} 9' for name in psi]
    lines += [f'drift_psi{{model="m",tenant="_all",feature="{name}",against="shadow"}} 9' for name in psi]
    ratio = 'drift_feature_missing_ratio{model="m",tenant="%s",role="%s",feature="temp"} %s'
    lines += [ratio % ("_all", "production", missing), ratio % ("acme", "production", 1), ratio % ("_all", "shadow", 1)]
    lines += [f'drift_accuracy_ratio{{model="m",role="{role}"}} {value}' for role, value in ACCURACY.items()]
    lines.append(f'drift_events_total{{model="m",role="production"}} {events}')
    return parse("\n".join(lines) + "\n")


def proxy(captured: int = 0, delivered: int = 0, **more: int) -> Reading:
    """The proxy's text with these counters."""
    lines = [
        f'events_captured_total{{model="m",role="production"}} {captured}',
        f'events_delivered_total{{model="m",role="production"}} {delivered}',
        *(f'{name}{{model="m"}} {value}' for name, value in more.items()),
    ]
    return parse("\n".join(lines) + "\n")


def observed(kind: str = "season") -> Observed:
    """Nothing seen yet."""
    return Observed(kind, EXPECTATION, window=1000)


def test_a_good_run_surprises_nobody() -> None:
    """Low before, high after, the rest left alone, nothing lost, every law held."""
    run = observed()
    run.steady(exporter(temp=0.02, carrier=0.01))
    assert not run.drifting(exporter(temp=0.1, carrier=0.01), 0.5)
    assert run.drifting(exporter(temp=0.3, carrier=0.02), 1.0)
    assert not run.drifting(exporter(temp=0.9, carrier=0.02), 2.0)
    run.at_rest(proxy(captured=10, delivered=10), exporter(events=10, temp=2.0, carrier=0.02))
    assert run.surprises() == []
    line = run.line(requests=10)
    assert line["detect_seconds"] == 1.0
    assert line["psi_before"] == 0.02
    assert line["psi_after"] == 2.0
    assert line["lost"] == 0
    assert line["conserved"] is True
    assert line["accuracy_before"] == line["accuracy_after"] == ACCURACY


def test_labels_that_never_arrive_are_a_surprise() -> None:
    """Both models' accuracy has to be there, before and at the end."""
    run = observed("none")
    run.steady(exporter(temp=0.02))
    run.at_rest(proxy(), parse("drift_events_total 0\n"))
    assert run.surprises() == ["the labels gave no accuracy of both models"]


def test_a_window_that_is_not_full_tells_nothing_of_the_time_before() -> None:
    """Its PSI is chance; the run says that it had too little time."""
    run = observed()
    run.steady(exporter(filled=999, temp=0.05))
    assert run.psi_before is None
    assert any("never full" in line for line in run.surprises())


def test_each_thing_that_is_not_as_worked_out_is_told() -> None:
    """Too high before, seen late, a feature that should have been left alone, loss, a broken law."""
    run = observed()
    run.steady(exporter(temp=0.15))
    run.drifting(exporter(temp=0.5, carrier=0.4), 11.0)
    run.at_rest(proxy(captured=10, delivered=9), exporter(events=9, temp=2.0))
    told = "\n".join(run.surprises())
    assert "before the drift was 0.150" in told
    assert "left alone reached PSI 0.400" in told
    assert "seen after 11.0 s" in told
    assert "1 captured answers were not measured" in told
    assert "captured = delivered + lost + waiting (production): 10 is not 9" in told


def test_without_drift_a_gauge_that_rises_is_the_surprise() -> None:
    """And not finding any is not."""
    run = observed("none")
    run.steady(exporter(temp=0.02))
    run.drifting(exporter(temp=0.03), 1.0)
    run.at_rest(proxy(), exporter(temp=0.03))
    assert run.surprises() == []
    assert run.line(0)["drifted"] == []
    run.drifting(exporter(temp=0.21), 2.0)
    assert run.surprises() == ["PSI reached 0.210 without drift"]


def test_values_that_go_missing_are_seen_by_their_share_alone() -> None:
    """It must pass a fifth, and no PSI may move."""
    lost = Expectation({"temp": 0.0, "carrier": 0.01}, [], ["temp", "carrier"], ["temp"])
    run = Observed("missing", lost, window=1000)
    run.steady(exporter(missing=0.01, temp=0.02, carrier=0.01))
    assert not run.drifting(exporter(missing=0.2, temp=0.02, carrier=0.01), 0.5)
    assert run.drifting(exporter(missing=0.3, temp=0.02, carrier=0.01), 1.0)
    run.at_rest(proxy(captured=1, delivered=1), exporter(events=1, missing=0.5, temp=0.02, carrier=0.01))
    assert run.surprises() == []
    line = run.line(requests=1)
    assert (line["drifted"], line["left_alone"]) == (["temp"], ["carrier"])
    assert (line["missing_before"], line["missing_after"], line["detect_seconds"]) == (0.01, 0.5, 1.0)
    run.drifting(exporter(missing=0.5, temp=0.25), 2.0)
    assert "PSI reached 0.250 without drift" in run.surprises()


def test_values_that_should_go_missing_and_do_not_are_a_surprise() -> None:
    """Whatever PSI does."""
    run = Observed("missing", Expectation({"temp": 0.0}, [], ["temp"], ["temp"]), window=1000)
    run.steady(exporter(temp=0.02))
    run.drifting(exporter(missing=0.1, temp=0.02), 1.0)
    run.at_rest(proxy(), exporter(missing=0.1, temp=0.02))
    assert run.surprises() == ["the drift was not seen: a share of 0.100 missing at the end"]


def test_the_laws_are_added_up_from_the_text_of_one_scrape() -> None:
    """Every term counts, over all reasons."""
    good = {"mirror_sampled_total": 9, "mirror_sent_total": 5, "mirror_dropped_total": 2, "mirror_log_only_total": 1}
    assert broken_laws(proxy(**good, mirror_waiting=1, mirror_completed_total=4, mirror_in_flight=1)) == []
    assert broken_laws(proxy(**good, mirror_waiting=0, mirror_completed_total=4, mirror_in_flight=0)) == [
        "sampled = sent + dropped + log_only + waiting: 9 is not 8",
        "sent = completed + failed + in flight: 5 is not 4",
    ]
