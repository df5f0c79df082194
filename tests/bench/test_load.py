"""What wrk says is read, and what it does not say is no number."""

from pathlib import Path

import pytest

from bench.load import parse, saturate, script
from bench.payload import bodies
from lifecycle.refusal import Refusal

TOLD = """Running 4s test @ http://127.0.0.1:8080
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   184.95us  324.59us   8.08ms   96.42%
  57498 requests in 4.00s, 24.02MB read
measured {"requests": 57498, "microseconds": 4000999, "p50_us": 125, "p99_us": 1406, "max_us": 8080, "connect": 1, \
"read": 2, "write": 3, "status": 4, "timeout": 5}
"""


def test_the_line_of_our_script_is_read() -> None:
    """Rates from the microseconds it took, latencies in milliseconds, failures of every kind together."""
    seen = parse(TOLD)
    assert (seen.requests, seen.p50_ms, seen.p99_ms, seen.failures) == (57498, 0.125, 1.406, 15)
    assert seen.rate == pytest.approx(57498 / 4.000999)


@pytest.mark.parametrize("output", ["", TOLD.partition("measured")[0]])
def test_output_without_that_line_is_refused(output: str) -> None:
    """A wrk whose script has failed prints its own table all the same."""
    with pytest.raises(Refusal, match="nothing that can be read"):
        parse(output)


def test_wrk_that_fails_is_refused_with_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here an impostor."""
    wrk = tmp_path / "wrk"
    wrk.write_text("#!/bin/sh\necho 'unable to connect' >&2\nexit 1\n")
    wrk.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(Refusal, match="wrk ended with 1: unable to connect"):
        saturate(script(tmp_path), 1, 1)


def test_the_script_sends_one_of_our_requests(tmp_path: Path) -> None:
    """The body in Lua's quotes is the body as it is."""
    assert f"wrk.body = '{bodies(1)[0].decode()}'" in script(tmp_path).read_text()
