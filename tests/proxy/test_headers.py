"""What names mean, and that nobody can make the proxy remember without end."""

from __future__ import annotations

import pytest

from configuration import Inference
from proxy.http.headers import ANSWER_NAMES, REQUEST_NAMES, RefusedError, may_trail, named_in_connection
from proxy.routing.plan import InferenceRule


@pytest.mark.parametrize("name", [b"Content-Length", b"content-length", b"CONTENT-LENGTH", b"cOnTeNt-LeNgTh"])
def test_a_name_means_the_same_in_every_spelling(name: bytes) -> None:
    """Also when it is looked up again."""
    assert [REQUEST_NAMES[name], REQUEST_NAMES[name], ANSWER_NAMES[name]] == [b"content-length"] * 3


@pytest.mark.parametrize("name", [b"X-Custom", b"Accept", b"X-Content-Length", b"Content-Length-2"])
def test_any_other_name_means_nothing(name: bytes) -> None:
    """It is passed on."""
    assert REQUEST_NAMES[name] == ANSWER_NAMES[name] == b""


@pytest.mark.parametrize("name", [b"Content_Length", b"transfer_encoding", b"X_Shadow", b"X-Shadowdrift_Clone"])
def test_a_name_that_passes_for_another_behind_cgi_is_refused_in_requests_alone(name: bytes) -> None:
    """Each time: a refusal is not remembered as a meaning."""
    for _ in range(2):
        with pytest.raises(RefusedError):
            REQUEST_NAMES[name]
    assert ANSWER_NAMES[name] == b""


def test_made_up_names_and_paths_are_not_remembered_without_end() -> None:
    """However many there are, and however long."""
    rule = InferenceRule(Inference())
    for number in range(10_000):
        REQUEST_NAMES[b"X-%d" % number]
        REQUEST_NAMES[b"X-%d-" % number + b"a" * 1000]
        assert rule(b"POST", b"/%d" % number)
        assert rule(b"POST", b"/%d/" % number + b"a" * 1000)
    assert sum(len(name) for name in REQUEST_NAMES) < 200_000
    assert sum(len(path) for path in rule._remembered) < 2_000_000


def test_what_connection_names_is_taken_off_whatever_its_case() -> None:
    """Lists, blanks and parameters; not its own words."""
    assert named_in_connection(b"Keep-Alive, X-A ,x-b;q=1,, close") == {b"x-a", b"x-b"}


def test_a_trailer_is_none_that_could_pass_for_a_header() -> None:
    """In any spelling."""
    refused = [b"Content-Length", b"content_type", b"AUTHORIZATION", b"X-Forwarded-For", b"X_Shadow", b"Set-Cookie"]
    assert [may_trail(name) for name in refused] == [False] * len(refused)
    assert may_trail(b"Grpc-Status")
