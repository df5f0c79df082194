"""The sockets between workers and emitter: what was handed over, what was received, and what nobody will receive.

What is in a socket is worked out from its two ends. When an end has died, it is lost as soon as the other end has
taken all that it can: the emitter has read a dead worker's stream to its end, a worker has noticed that its emitter is
gone. Until then it counts as waiting.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from proxy.counters import SharedCounters
from proxy.layout import Key
from proxy.supervision.totals import Totals

ACCEPT_SECONDS: Final = 1.0
"""How long a new emitter may take to accept the streams that waited for it."""

READ_SECONDS: Final = 0.3
"""How long an emitter may take to accept a stream whose worker has died since."""

SHOW_SECONDS: Final = 1.0
"""How often a worker that has no emitter is shown the way; a connection is made at once, or not at all."""


@dataclass
class _Lane:
    """One worker's way to the emitters: how far it is accounted for, and what a dead worker had handed over."""

    accounted: Counter[Key]
    shown: float = float("inf")
    """When its worker was shown the way to the emitter last; while it starts it needs nobody for that."""
    ended: float | None = None
    handed: Counter[Key] = field(default_factory=Counter)


class Crossing:
    """All workers' lanes to the emitters of one generation, which have one slot in turn, behind the workers'."""

    def __init__(self, shared: SharedCounters, worker_slots: int, totals: Totals) -> None:
        self._shared = shared
        self._layout = shared.layout
        self._worker_slots = worker_slots
        self._totals = totals
        self._lanes: dict[int, _Lane] = {}
        self._received: Counter[Key] = Counter()
        """By emitters that have ended."""
        self._ready: float | None = None
        """Since when the emitter accepts streams, if it does."""
        self._emitting = False

    @property
    def unsettled(self) -> bool:
        """Whether a dead worker's lane is not accounted for yet."""
        return any(lane.ended is not None for lane in self._lanes.values())

    def free_slot(self) -> int | None:
        """A slot for a new worker; None where every one is taken, by workers or by what dead ones left."""
        return next((slot for slot in range(self._worker_slots) if slot not in self._lanes), None)

    def worker_began(self, slot: int) -> None:
        """A worker counts in this slot."""
        self._lanes[slot] = _Lane(self._received_of(slot))

    def worker_ready(self, slot: int) -> None:
        """It has been to the emitter's socket: when it shows no link from here on, it needs one."""
        if (lane := self._lanes.get(slot)) is not None:  # else it has ended already
            lane.shown = float("-inf")

    def worker_ended(self, slot: int, now: float) -> None:
        """It has, and its slot still shows what it published last."""
        lane = self._lanes[slot]
        lane.ended, lane.handed = now, self._handed(self._shared.read(slot))

    def emitter_began(self) -> None:
        """An emitter counts in the last slot; it does not accept streams yet."""
        self._emitting, self._ready = True, None

    def emitter_ready(self, now: float) -> None:
        """It accepts streams."""
        self._ready = now

    def emitter_ended(self) -> None:
        """It has, and its slot still shows what it published last."""
        self._received += self._now_received()
        self._emitting, self._ready = False, None

    def look(self, now: float) -> list[int]:
        """Account for what has become clear; the slots of workers that have no emitter and must be shown the way.

        A worker without an emitter hands nothing over until it is shown one: its numbers stand still.
        """
        homeless = []
        for slot, lane in list(self._lanes.items()):
            if lane.ended is None:
                cells = self._shared.read(slot)
                if cells[self._layout.place("emitter_link")] or now < lane.shown + SHOW_SECONDS or self._reads(slot):
                    continue
                self._lose(lane, self._outstanding(slot, lane, self._handed(cells)))
                lane.shown = now
                homeless.append(slot)
            else:
                reads = self._reads(slot)
                outstanding = self._outstanding(slot, lane, lane.handed)
                if not outstanding or (not reads and self._had_time(lane.ended, now)):
                    self._lose(lane, outstanding)
                    del self._lanes[slot]
        return homeless

    def close(self) -> None:
        """Workers and emitter have ended: what is outstanding is lost."""
        for slot, lane in self._lanes.items():
            self._lose(lane, self._outstanding(slot, lane, lane.handed))
        self._lanes.clear()

    def _had_time(self, ended: float, now: float) -> bool:
        return self._ready is not None and now >= max(self._ready + ACCEPT_SECONDS, ended + READ_SECONDS)

    def _lose(self, lane: _Lane, outstanding: Counter[Key]) -> None:
        for labels, count in outstanding.items():
            self._totals.lose_handed(labels, count)
            lane.accounted[labels] -= count

    def _reads(self, slot: int) -> bool:
        """Whether the emitter has a stream of this worker's open."""
        place = self._layout.place("emitter_streams", str(slot))
        return self._emitting and self._shared.read(self._worker_slots)[place] > 0

    def _outstanding(self, slot: int, lane: _Lane, handed: Counter[Key]) -> Counter[Key]:
        received = self._received_of(slot)
        return +Counter({key: handed[key] - received[key] + lane.accounted[key] for key in handed})

    def _handed(self, cells: list[int]) -> Counter[Key]:
        return Counter({labels: cells[place] for labels, place in self._layout.series("events_handed")})

    def _received_of(self, slot: int) -> Counter[Key]:
        received = self._received.copy()
        if self._emitting:
            received += self._now_received()
        own = str(slot)
        return Counter({labels[1:]: count for labels, count in received.items() if labels[0] == own})

    def _now_received(self) -> Counter[Key]:
        cells = self._shared.read(self._worker_slots)
        return Counter({labels: cells[place] for labels, place in self._layout.series("events_received")})
