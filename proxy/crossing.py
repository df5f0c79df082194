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
from proxy.totals import Totals

ACCEPT_SECONDS: Final = 1.0
"""How long a new emitter may take to accept the streams that waited for it."""

READ_SECONDS: Final = 0.3
"""How long an emitter may take to accept a stream whose worker has died since."""


@dataclass
class _Lane:
    """One worker's way to the emitters: how far it is accounted for, and what a dead worker had handed over."""

    accounted: Counter[Key]
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

    def worker_ended(self, slot: int, now: float) -> None:
        """It has, and its slot still shows what it published last."""
        lane = self._lanes[slot]
        lane.ended, lane.handed = now, self._handed(slot)

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
        """Account for what has become clear; the slots of workers that have no emitter, whose lanes are clear."""
        homeless = []
        for slot, lane in list(self._lanes.items()):
            reading = self._emitting and self._cell(self._worker_slots, "emitter_streams", str(slot)) > 0
            if lane.ended is None:
                # Without an emitter it hands nothing over, so from here on its number stands still.
                if not reading and self._cell(slot, "emitter_link") == 0:
                    self._lose(lane, self._outstanding(slot, lane))
                    homeless.append(slot)
                continue
            outstanding = self._outstanding(slot, lane)
            if not outstanding or (not reading and self._had_time(lane.ended, now)):
                self._lose(lane, outstanding)
                del self._lanes[slot]
        return homeless

    def close(self) -> None:
        """Workers and emitter have ended: what is outstanding is lost."""
        for slot, lane in self._lanes.items():
            self._lose(lane, self._outstanding(slot, lane))
        self._lanes.clear()

    def _had_time(self, ended: float, now: float) -> bool:
        return self._ready is not None and now >= max(self._ready + ACCEPT_SECONDS, ended + READ_SECONDS)

    def _lose(self, lane: _Lane, outstanding: Counter[Key]) -> None:
        for labels, count in outstanding.items():
            self._totals.lose_handed(labels, count)
            lane.accounted[labels] -= count

    def _outstanding(self, slot: int, lane: _Lane) -> Counter[Key]:
        received = self._received_of(slot)  # before what was handed over, so that nothing is negative
        handed = self._handed(slot) if lane.ended is None else lane.handed
        return +Counter({key: handed[key] - received[key] + lane.accounted[key] for key in handed})

    def _handed(self, slot: int) -> Counter[Key]:
        cells = self._shared.read(slot)
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

    def _cell(self, slot: int, family: str, *labels: str) -> int:
        return self._shared.read(slot)[self._layout.place(family, *labels)]
