"""Sampling: the same choice everywhere, nested, and as large as it is said to be."""

import asyncio
import math
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configuration.reading import convert
from proxy.http.request import RequestHead
from proxy.layout import Layout
from proxy.routing.plan import Plan
from proxy.routing.serving import Shares
from proxy.sampling import Sampler, threshold
from tests.proxy.planes import KEYS, document

IDS = 100_000
KEY, OTHER_KEY = b"k" * 32, b"o" * 32
FRACTIONS = (0.001, 0.01, 0.05, 0.25, 0.5, 0.9, 0.999)
FAR = 5.0
"""Standard deviations that chance goes beyond once in two million."""

quick = settings(max_examples=200, derandomize=True, deadline=None)


@cache
def positions(key: bytes) -> tuple[int, ...]:
    """Where 100,000 requests stand under a key."""
    sampler = Sampler(key)
    return tuple(sampler.position(b"request-%d" % number) for number in range(IDS))


def chosen(key: bytes, fraction: float) -> set[int]:
    """The numbers of the requests among the fraction."""
    below = threshold(fraction)
    return {number for number, position in enumerate(positions(key)) if position < below}


def near(count: int, of: int, probability: float) -> bool:
    """Whether chance explains a count."""
    return abs(count - of * probability) <= FAR * math.sqrt(of * probability * (1 - probability))


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_the_share_is_what_it_is_said_to_be(fraction: float) -> None:
    """Within the bounds of the binomial distribution."""
    assert near(len(chosen(KEY, fraction)), IDS, fraction)


def test_the_choices_nest() -> None:
    """Who is among 1 % is among 5 % too."""
    sets = [chosen(KEY, fraction) for fraction in (0.0, *FRACTIONS, 1.0)]
    assert all(smaller <= larger for smaller, larger in pairwise(sets))


def test_nobody_and_everybody() -> None:
    """The ends are exact: at 0 not one request, at 1 not one less."""
    assert chosen(KEY, 0.0) == set()
    assert len(chosen(KEY, 1.0)) == IDS
    assert threshold(1.0) > 2**64 - 1


@pytest.mark.parametrize("fraction", [0.05, 0.5])
def test_another_key_chooses_independently(fraction: float) -> None:
    """Of those that one key chooses, the other chooses the same share: routing does not follow sampling."""
    first, second = chosen(KEY, fraction), chosen(OTHER_KEY, fraction)
    assert near(len(first & second), IDS, fraction**2)
    assert near(len(second - first), IDS, fraction * (1 - fraction))


def test_a_canary_gets_its_share_of_the_cloned_requests() -> None:
    """Under the keys that a proxy has: a chi-square, one degree of freedom, of cloned or not against canary or not."""
    sampler, router = Sampler(KEYS.derived("sampling")), Sampler(KEYS.derived("routing"))
    shares, below = Shares({"v2": 0.9, "v3": 0.1}), threshold(0.05)
    counts = Counter(
        (sampler.position(name) < below, shares.version(router.position(name)) == "v3")
        for name in (b"request-%d" % number for number in range(IDS))
    )
    cloned = counts[True, True] + counts[True, False]
    canary = counts[True, True] + counts[False, True]
    expected = {
        (a, b): (cloned if a else IDS - cloned) * (canary if b else IDS - canary) / IDS
        for a in (True, False)
        for b in (True, False)
    }
    statistic = sum((counts[cell] - expected[cell]) ** 2 / expected[cell] for cell in expected)
    assert near(cloned, IDS, 0.05)
    assert near(canary, IDS, 0.1)
    assert statistic < FAR**2


async def test_replicas_choose_the_same_and_capture_what_they_clone(tmp_path: Path) -> None:
    """Two proxies that share the key file, whatever the fractions: one decision, and it nests."""
    loop = asyncio.get_running_loop()

    def plan(mirror: float, capture: float) -> Plan:
        made = document("http://p:1", "http://s:1", mirror={"fraction": mirror}, capture={"fraction": capture})
        configuration = convert(made, tmp_path, "test")
        return Plan(configuration.models[0], Layout(configuration), loop, Sampler(KEYS.derived("routing")))

    head = RequestHead(b"POST", b"/predict", b"", [], [])
    fractions = (0.0, 0.01, 0.05, 0.5, 1.0)
    first, second = Sampler(KEYS.derived("sampling")), Sampler(KEYS.derived("sampling"))
    names = [b"request-%d" % number for number in range(5000)]
    before: set[bytes] = set()
    for fraction in fractions:
        one, other = plan(fraction, 0.3), plan(fraction, 0.9)
        chosen = {name for name in names if one.chosen(head, first.position(name))}
        assert chosen == {name for name in names if other.chosen(head, second.position(name))}
        assert before <= chosen
        before = chosen
        captured = {name for name in names if first.position(name) < one.capture_threshold}
        assert chosen <= captured or captured <= chosen  # the smaller share lies within the larger one
    assert len(before) == 5000


def test_positions_are_uniform() -> None:
    """A chi-square of 64 equal classes: 63 ± 5 standard deviations of √126."""
    counts = [0] * 64
    for position in positions(KEY):
        counts[position >> 58] += 1
    expected = IDS / 64
    statistic = sum((count - expected) ** 2 / expected for count in counts)
    assert abs(statistic - 63) < FAR * math.sqrt(126)


def test_a_choice_is_known_forever() -> None:
    """Replicas of different versions agree: BLAKE2b, keyed, 8 bytes, big-endian (RFC 7693)."""
    assert Sampler(bytes(range(32))).position(b"request-1") == 17_609_291_913_587_107_922


@quick
@given(st.binary(min_size=1, max_size=64), st.binary(max_size=200))
def test_a_request_stands_where_it_stands(key: bytes, request_id: bytes) -> None:
    """On every replica and retry, within 64 bits."""
    position = Sampler(key).position(request_id)
    assert position == Sampler(key).position(request_id)
    assert 0 <= position < 2**64


@quick
@given(st.floats(0, 1), st.floats(0, 1))
def test_a_larger_fraction_has_no_lower_threshold(one: float, other: float) -> None:
    """What makes the choices nest, at any two fractions."""
    low, high = sorted((one, other))
    assert 0 <= threshold(low) <= threshold(high) <= 2**64
