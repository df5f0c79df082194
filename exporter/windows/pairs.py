"""The answers of both models to the same requests: what a shadow is for.

A pair is (id, instance index), present both among the instances of the last sampled production answers and among those
of the last shadow answers, W instances each, each in the order of its own topic. So what is paired is a function of the
two logs, however they are read. Both rings hold the answers of all versions; what is shown are pairs of one period each
(`leading`).

Beside each instance in production's ring stands which one of the shadow's is its partner; a pair has gone when either
has. An answer costs a few look-ups, and a reading arithmetic over W numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from events.inference import ROLES, InferenceEvent, Role
from exporter.windows.answers import NUMBER, fingerprint, hashed, said
from exporter.windows.leading import NOBODY

Numbers: TypeAlias = NDArray[np.int64]

_NOBODY: Final = -1
"""In place of a partner, and of the position of a tenant without a name of its own."""


Request: TypeAlias = tuple[int, int, int, list[int]]
"""Where one request's instances stand in a ring: the number of the first, and that behind the last; the key under which
its texts were hashed; of each instance the fingerprint of its features."""


class Ring:
    """The last W instances of one role's answers; instances are numbered from 0 on in the order of the log."""

    def __init__(self, size: int) -> None:
        self.size: Final = size
        self.sorts: Final = np.zeros(size, np.uint8)
        self.numbers: Final = np.zeros(size)
        self.names: Final = np.zeros(size, np.int64)
        self.periods: Final = np.zeros(size, np.int64)
        """Of the versions that answered."""
        self.total = 0
        self.requests: dict[bytes, Request] = {}
        self._order: deque[bytes] = deque()
        # Numbers are set one by one, which a memoryview does in a third of the time that numpy takes.
        self._cells: Final[tuple[Any, ...]] = (self.sorts.data, self.numbers.data, self.names.data, self.periods.data)

    @property
    def oldest(self) -> int:
        """The number of the oldest instance that it holds; `total` where it is empty."""
        return max(0, self.total - self.size)

    def add(self, key: bytes, event: InferenceEvent, period: int) -> Request:
        """Take a request's instances, and let the oldest beyond W go."""
        sorts, numbers, names, periods = self._cells
        size, number = self.size, self.total
        for instance in event.instances:
            slot = number % size
            sorts[slot], numbers[slot], names[slot] = said(instance.prediction)
            periods[slot] = period
            number += 1
        asked = [fingerprint(instance) for instance in event.instances]
        request = self.requests[key] = (self.total, number, hashed(event.key_id or ""), asked)
        self._order.append(key)
        self.total = number
        oldest = number - size
        while self.requests[self._order[0]][1] <= oldest:
            del self.requests[self._order.popleft()]
        return request

    def kept(self) -> dict[str, Any]:
        """What survives a restart."""
        requests = [self.requests[key] for key in self._order]
        return {
            "sorts": self.sorts.tobytes(),
            "numbers": self.numbers.tobytes(),
            "names": self.names.tobytes(),
            "periods": self.periods.tobytes(),
            "total": self.total,
            "ids": b"".join(self._order),
            "requests": np.array([request[:3] for request in requests], "<i8").tobytes(),
            "asked": np.array([asked for request in requests for asked in request[3]], "<i8").tobytes(),
        }

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from what `kept` gave. Raises ValueError for anything else."""
        _set(self.sorts, kept["sorts"])
        _set(self.numbers, kept["numbers"])
        _set(self.names, kept["names"])
        _set(self.periods, kept["periods"])
        self.total = kept["total"]
        self._order = deque(kept["ids"][start : start + 16] for start in range(0, len(kept["ids"]), 16))
        asked = iter(np.frombuffer(kept["asked"], "<i8").tolist())
        requests = np.frombuffer(kept["requests"], "<i8").reshape(-1, 3).tolist()
        self.requests = {
            key: (first, end, hashes, list(islice(asked, end - first)))
            for key, (first, end, hashes) in zip(self._order, requests, strict=True)
        }


def _set(array: NDArray[Any], kept: bytes) -> None:
    before = np.frombuffer(kept, array.dtype)
    if len(before) != len(array):
        raise ValueError("pairs of another window are kept")
    array[:] = before


class Held(NamedTuple):
    """The n pairs of one instant, in the order of production's log."""

    sampled: int
    """Sampled production instances in the ring, of the version that is shown."""
    sorts: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    """What kind of prediction production gave, and the shadow: the sorts of `answers`."""
    numbers: tuple[NDArray[np.float64], NDArray[np.float64]]
    names: tuple[Numbers, Numbers]
    tenants: NDArray[np.int32]
    """The position of each one's tenant, -1 where it has none."""
    mismatched: int
    """How many of them have features that differ."""

    def delta(self) -> NDArray[np.float64]:
        """Shadow - production of the pairs of numbers."""
        both = (self.sorts[0] == NUMBER) & (self.sorts[1] == NUMBER)
        with np.errstate(over="ignore"):  # beyond every float it is infinite
            delta: NDArray[np.float64] = self.numbers[1][both] - self.numbers[0][both]
        return delta


class Pairs:
    """The pairs of one model."""

    def __init__(self, size: int, tenants: Sequence[str]) -> None:
        """`size` is W; `tenants` are those told apart, by whose positions `Held.tenants` names them."""
        self.size: Final = size
        self.mismatched = 0
        """Pairs, ever made, whose features differ: a fault of the pipeline."""
        self.unequal = 0
        """Requests, ever, of which the two models answered different numbers of instances; they make no pairs."""
        self.shown: Final[dict[Role, int]] = dict.fromkeys(ROLES, NOBODY)
        """Which period of each role."""
        self._tenants: Final = tuple(tenants)
        self._index: Final = {tenant: position for position, tenant in enumerate(tenants)}
        self._other: Final = self._index.get("_other", _NOBODY)
        self._production: Final = Ring(size)
        self._shadow: Final = Ring(size)
        self._tenant_of: Final = np.zeros(size, np.int32)
        self._partners: Final = np.zeros(size, np.int64)
        self._mismatches: Final = np.zeros(size, np.uint8)
        """Beside production's instances: the tenant, the number of the shadow's instance, whether features differ."""
        self._cells: Final[tuple[Any, ...]] = (self._tenant_of.data, self._partners.data, self._mismatches.data)

    def take(self, event: InferenceEvent, key: bytes, period: int) -> None:
        """Take an answer of that period that enters, of at least one instance; `key` is the identity of its id."""
        production = event.role == "production"
        ours, theirs = (self._production, self._shadow) if production else (self._shadow, self._production)
        if key in ours.requests:  # it came before, longer ago than duplicates are remembered
            return
        request = ours.add(key, event, period)
        if production:
            self._seat(request, event.tenant)
        other = theirs.requests.get(key)
        if other is not None:
            self._join(*((request, other) if production else (other, request)))

    def held(self) -> Held:
        """The pairs of this instant."""
        ours, theirs = self._production, self._shadow
        slots = np.arange(ours.oldest, ours.total) % self.size
        slots = slots[ours.periods[slots] == self.shown["production"]]
        sampled, partners = len(slots), self._partners[slots]
        paired = (partners >= theirs.oldest) & (partners != _NOBODY)
        paired &= theirs.periods[partners % self.size] == self.shown["shadow"]
        slots, others = slots[paired], partners[paired] % self.size
        return Held(
            sampled=sampled,
            sorts=(ours.sorts[slots], theirs.sorts[others]),
            numbers=(ours.numbers[slots], theirs.numbers[others]),
            names=(ours.names[slots], theirs.names[others]),
            tenants=self._tenant_of[slots],
            mismatched=int(np.count_nonzero(self._mismatches[slots])),
        )

    def kept(self) -> dict[str, Any]:
        """What survives a restart."""
        return {
            "production": self._production.kept(),
            "shadow": self._shadow.kept(),
            "partners": self._partners.tobytes(),
            "mismatches": self._mismatches.tobytes(),
            "tenant_of": self._tenant_of.tobytes(),
            "tenants": list(self._tenants),
        }

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from what `kept` gave, also under other tenants. Raises ValueError for anything else."""
        self._production.restore(kept["production"])
        self._shadow.restore(kept["shadow"])
        _set(self._partners, kept["partners"])
        _set(self._mismatches, kept["mismatches"])
        _set(self._tenant_of, kept["tenant_of"])
        places = [self._place(tenant) for tenant in kept["tenants"]]
        self._tenant_of[:] = np.array([*places, _NOBODY], np.int32)[self._tenant_of]

    def _place(self, tenant: str | None) -> int:
        return _NOBODY if tenant is None else self._index.get(tenant, self._other)

    def _seat(self, request: Request, tenant: str | None) -> None:
        """Production's instances begin without a partner."""
        tenants, partners, mismatches = self._cells
        place = self._place(tenant)
        for number in range(request[0], request[1]):
            slot = number % self.size
            tenants[slot], partners[slot], mismatches[slot] = place, _NOBODY, 0

    def _join(self, production: Request, shadow: Request) -> None:
        """Pair two answers to one request, as far as both still stand in their rings."""
        first, end, hashes, asked = production
        other, other_end, other_hashes, other_asked = shadow
        if end - first != other_end - other:
            self.unequal += 1
            return
        _, partners, mismatches = self._cells
        for index in range(max(0, self._production.oldest - first, self._shadow.oldest - other), end - first):
            slot = (first + index) % self.size
            mismatched = hashes == other_hashes and asked[index] != other_asked[index]
            partners[slot], mismatches[slot] = other + index, mismatched
            self.mismatched += mismatched
