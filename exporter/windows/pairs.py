"""The answers of both models to the same requests: what a shadow is for.

A pair is (id, instance index), present both among the instances of the last sampled production answers and among those
of the last shadow answers, W instances each, each in the order of its own topic. So what is paired is a function of the
two logs, however they are read.

Beside each instance in production's ring stands which one of the shadow's is its partner; a pair has gone when either
has. An answer costs a few look-ups, and a reading arithmetic over W numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from events.inference import InferenceEvent
from exporter.windows.answers import NUMBER, fingerprint, hashed, identity, said
from exporter.windows.runs import Run

Numbers: TypeAlias = NDArray[np.int64]

_NOBODY: Final = -1
"""In place of a partner, and of the position of a tenant without a name of its own."""


class Request(NamedTuple):
    """Where one request's instances stand in a ring: the number of the first, how many, and the key of its hashes."""

    first: int
    instances: int
    hashes: int


class Columns:
    """W numbers for each name, set one at a time by events (`cells`) and read together (`arrays`)."""

    def __init__(self, size: int, types: dict[str, str]) -> None:
        self.arrays: Final = {name: np.zeros(size, kind) for name, kind in types.items()}
        # A memoryview takes a number in a third of the time that numpy needs for it.
        self.cells: Final[dict[str, Any]] = {name: array.data for name, array in self.arrays.items()}

    def kept(self) -> dict[str, bytes]:
        """What survives a restart."""
        return {name: array.tobytes() for name, array in self.arrays.items()}

    def restore(self, kept: dict[str, bytes]) -> None:
        """Go on from what `kept` gave. Raises ValueError where the size is another."""
        for name, array in self.arrays.items():
            before = np.frombuffer(kept[name], array.dtype)
            if len(before) != len(array):
                raise ValueError("pairs of another window are kept")
            array[:] = before


class Ring:
    """The last W instances of one role's answers; instances are numbered from 0 on in the order of the log."""

    def __init__(self, size: int) -> None:
        self.size: Final = size
        self.columns: Final = Columns(size, {"sort": "u1", "number": "<f8", "name": "<i8", "asked": "<i8"})
        """What was said (`answers.Said`), and the fingerprint of what was asked."""
        self.total = 0
        self.requests: dict[bytes, Request] = {}
        self._order: deque[bytes] = deque()
        self._begun = 0

    @property
    def oldest(self) -> int:
        """The number of the oldest instance that it holds; `total` where it is empty."""
        return max(self._begun, self.total - self.size)

    def restart(self) -> None:
        """Another version answers from now on."""
        self._begun = self.total
        self.requests.clear()
        self._order.clear()

    def add(self, key: bytes, event: InferenceEvent) -> Request:
        """Take a request's instances, and let the oldest beyond W go."""
        request = Request(self.total, len(event.instances), hashed(event.key_id or ""))
        cells = self.columns.cells
        for number, instance in enumerate(event.instances, self.total):
            slot = number % self.size
            cells["sort"][slot], cells["number"][slot], cells["name"][slot] = said(instance.prediction)
            cells["asked"][slot] = fingerprint(instance)
        self.total += request.instances
        self.requests[key] = request
        self._order.append(key)
        self._let_go()
        return request

    def _let_go(self) -> None:
        oldest = self.oldest
        while True:
            request = self.requests[self._order[0]]
            if request.first + request.instances > oldest:
                return
            del self.requests[self._order.popleft()]

    def kept(self) -> dict[str, Any]:
        """What survives a restart."""
        requests = [self.requests[key] for key in self._order]
        return {
            "columns": self.columns.kept(),
            "total": self.total,
            "begun": self._begun,
            "ids": b"".join(self._order),
            "requests": np.array(requests, "<i8").tobytes(),
        }

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from what `kept` gave. Raises ValueError for anything else."""
        requests = np.frombuffer(kept["requests"], "<i8").reshape(-1, 3).tolist()
        keys = [kept["ids"][start : start + 16] for start in range(0, len(kept["ids"]), 16)]
        found = {key: Request(*request) for key, request in zip(keys, requests, strict=True)}
        self.columns.restore(kept["columns"])
        self.total, self._begun = kept["total"], kept["begun"]
        self._order, self.requests = deque(keys), found


class Held(NamedTuple):
    """The n pairs of one instant, in the order of production's log."""

    sampled: int
    """Sampled production instances in the ring."""
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
        self._tenants: Final = tuple(tenants)
        self._index: Final = {tenant: position for position, tenant in enumerate(tenants)}
        self._other: Final = self._index.get("_other", _NOBODY)
        self._production: Final = Ring(size)
        self._shadow: Final = Ring(size)
        self._seats: Final = Columns(size, {"tenant": "<i4", "partner": "<i8", "mismatched": "u1"})
        """Beside production's instances: the tenant, the number of the shadow's instance, whether features differ."""
        self._runs: Final = {"production": Run(size), "shadow": Run(size)}

    @property
    def production_version(self) -> str | None:
        """The version whose sampled answers are in the ring."""
        return self._runs["production"].version

    @property
    def shadow_version(self) -> str | None:
        """The version whose answers are in the shadow's ring."""
        return self._runs["shadow"].version

    def take(self, event: InferenceEvent) -> None:
        """Take an event of this model that did not come before; only `ok` enters, of production if it is sampled."""
        if event.outcome not in {"ok", "log_only"} or not event.instances:
            return
        production = event.role == "production"
        enters = event.outcome == "ok" and (event.sampled or not production)
        ring = self._production if production else self._shadow
        key = identity(event.id) if enters else b""
        if key in ring.requests:  # it came before, longer ago than duplicates are remembered
            return
        if not self._runs[event.role].goes_on(event.version, len(event.instances), enters=enters):
            ring.restart()
        if not enters:
            return
        request = ring.add(key, event)
        if production:
            self._seat(request, event.tenant)
        other = (self._shadow if production else self._production).requests.get(key)
        if other is not None:
            self._join(*((request, other) if production else (other, request)))

    def held(self) -> Held:
        """The pairs of this instant."""
        ours, theirs = self._production, self._shadow
        slots = np.arange(ours.oldest, ours.total) % self.size
        partners = self._seats.arrays["partner"][slots]
        paired = (partners >= theirs.oldest) & (partners != _NOBODY)
        slots, others = slots[paired], partners[paired] % self.size
        here, there = ours.columns.arrays, theirs.columns.arrays
        return Held(
            sampled=ours.total - ours.oldest,
            sorts=(here["sort"][slots], there["sort"][others]),
            numbers=(here["number"][slots], there["number"][others]),
            names=(here["name"][slots], there["name"][others]),
            tenants=self._seats.arrays["tenant"][slots],
            mismatched=int(np.count_nonzero(self._seats.arrays["mismatched"][slots])),
        )

    def kept(self) -> dict[str, Any]:
        """What survives a restart."""
        return {
            "production": self._production.kept(),
            "shadow": self._shadow.kept(),
            "seats": self._seats.kept(),
            "tenants": list(self._tenants),
            "runs": [self._runs["production"].kept(), self._runs["shadow"].kept()],
        }

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from what `kept` gave, also under other tenants. Raises ValueError for anything else."""
        self._production.restore(kept["production"])
        self._shadow.restore(kept["shadow"])
        self._seats.restore(kept["seats"])
        for run, before in zip(self._runs.values(), kept["runs"], strict=True):
            run.restore(before)
        places = [self._place(tenant) for tenant in kept["tenants"]]
        tenants = self._seats.arrays["tenant"]
        tenants[:] = np.array([*places, _NOBODY], np.int32)[tenants]

    def _place(self, tenant: str | None) -> int:
        return _NOBODY if tenant is None else self._index.get(tenant, self._other)

    def _seat(self, request: Request, tenant: str | None) -> None:
        """Production's instances begin without a partner."""
        place, cells = self._place(tenant), self._seats.cells
        for number in range(request.first, request.first + request.instances):
            slot = number % self.size
            cells["tenant"][slot], cells["partner"][slot], cells["mismatched"][slot] = place, _NOBODY, 0

    def _join(self, production: Request, shadow: Request) -> None:
        """Pair two answers to one request, as far as both still stand in their rings."""
        if production.instances != shadow.instances:
            self.unequal += 1
            return
        seats, comparable = self._seats.cells, production.hashes == shadow.hashes
        asked, also_asked = self._production.columns.cells["asked"], self._shadow.columns.cells["asked"]
        first = max(0, self._production.oldest - production.first, self._shadow.oldest - shadow.first)
        for index in range(first, production.instances):
            slot, partner = (production.first + index) % self.size, shadow.first + index
            mismatched = comparable and asked[slot] != also_asked[partner % self.size]
            seats["partner"][slot], seats["mismatched"][slot] = partner, mismatched
            self.mismatched += mismatched
