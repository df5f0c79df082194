"""What was cloned a short while ago is known, for as long as it was said and in no more memory."""

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.shadowing.deduplicate import Recent, fingerprint


def test_it_is_known_until_its_time_is_over() -> None:
    """From the clone on, however often it is asked for meanwhile."""
    recent = Recent(10)
    recent.note(7, 100.0)
    for now in (100.0, 105.0, 109.9):
        recent.forget(now)
        assert 7 in recent
    recent.forget(110.0)
    assert 7 not in recent
    assert len(recent) == 0


def test_the_oldest_is_forgotten_when_there_are_too_many() -> None:
    """So the memory has a bound."""
    recent = Recent(1000, limit=3)
    for index in range(10):
        recent.note(index, float(index))
        assert len(recent) <= 3
    assert [index in recent for index in range(10)] == [False] * 7 + [True] * 3


@settings(max_examples=200, derandomize=True)
@given(*(st.tuples(st.binary(max_size=9), st.binary(max_size=9), st.binary(max_size=9)) for _ in range(2)))
def test_two_requests_have_one_fingerprint_if_they_are_identical(
    one: tuple[bytes, bytes, bytes], other: tuple[bytes, bytes, bytes]
) -> None:
    """Path, query and body, each for itself: a byte that moves from one to the next is another request."""
    assert (fingerprint(*one) == fingerprint(*other)) == (one == other)
    path, query, body = one
    if path:
        assert fingerprint(*one) != fingerprint(path[:-1], path[-1:] + query, body)
    if query:
        assert fingerprint(*one) != fingerprint(path, query[:-1], query[-1:] + body)
