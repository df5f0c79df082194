"""The peers stand in the proxy's place: they answer what production answers, and clone a share to the shadow."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.backend import Backend
from bench.pace import Client
from bench.peers import Nginx
from tests.support.nginx import missing
from tests.support.required import require
from tests.support.wheels import ENVOY, NGINX, Wheel


@pytest.fixture
def models(tmp_path: Path) -> Iterator[tuple[Backend, Backend]]:
    """Production and shadow."""
    require("nginx", missing())
    with ExitStack() as stack:
        made = Backend(tmp_path / "production"), Backend(tmp_path / "shadow")
        for model in made:
            stack.callback(model.server.stop)
        yield made


def sent(port: int) -> Client:
    """A client that has sent 1,000 requests there."""
    client = Client(port, 5000.0, 1000, 4)
    client.run()
    client.close()
    return client


def test_the_backend_s_answers_are_right_and_counted(models: tuple[Backend, Backend]) -> None:
    """So are those that all subjects are held against."""
    production, _ = models
    client = sent(production.port)
    assert (client.failures, client.changed) == (0, 0)
    assert production.requests() == 1000
    assert production.requests() == 1000


def test_a_peer_answers_as_production_does_and_clones_a_share(models: tuple[Backend, Backend], tmp_path: Path) -> None:
    """Of 1,000 requests 5 % are 50; below 15 or above 105 something other than chance is at work.

    (Envoy's share, which only `make bench-proxy` has here, stands in its results.)
    """
    production, shadow = models
    peer = Nginx(tmp_path / "peer", production.port, shadow.port)
    with peer.server:
        client = sent(peer.port)
        assert (len(client.latencies), client.failures, client.changed) == (1000, 0, 0)
        assert production.requests() == 1000
        assert 15 <= shadow.requests() <= 105


@pytest.mark.parametrize("wheel", [ENVOY, NGINX])
def test_a_program_of_pypi_is_pinned_with_its_hashes(wheel: Wheel) -> None:
    """One version, and no wheel but those that were seen."""
    assert wheel.version[0].isdigit()
    assert wheel.lock.read_text().count("--hash=sha256:") >= 1
