"""Without a profile, the first of the traffic becomes the reference: what has to be remembered until there are columns.

Of production the first 10 W instances, out of which the reference is made. Of the shadow what its windows will hold.
Then both roles' windows are made of what is remembered, as if the reference had been there from the start: so they are
a function of each topic's log, whichever topic is ahead when the reference is ready.

Events are remembered as they stand in Kafka, which takes a tenth of the memory, and can be kept as it is.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from configuration.model import Drift
from events.codec import decode_inference, encode
from events.inference import InferenceEvent
from exporter.windows.rows import MAX_FEATURES
from lifecycle.refusal import Refusal
from reference.draft import Draft
from reference.instances import row_of
from reference.profile import PREDICTION, Binning, Profile

WINDOWS: Final = 10
MAX_INSTANCES: Final = 100_000
"""A reference of so many rows leaves p-values nothing to wish for, however large the windows are."""
MAX_BYTES: Final = 64 * 1024 * 1024
"""Of events in one role. Beyond it the reference is made of fewer instances, and windows begin with fewer."""

_CHUNK: Final = 1_000


class Remembered(NamedTuple):
    """One event."""

    tenant: str | None
    """Under whose name it has a window beside that of `_all`."""
    instances: int
    text: bytes


class _Memory:
    """Events of one role, in their order. `tenant_of` tells under which name a tenant has its window of W."""

    def __init__(self, size: int, tenant_of: Callable[[str], str]) -> None:
        self._size: Final = size
        self._tenant_of: Final = tenant_of
        self._held: deque[Remembered] = deque()
        self._bytes = 0

    def latest(self) -> Iterator[InferenceEvent]:
        """Those of which an instance would stand in a window."""
        return (decode_inference(held.text) for held in self._staying())

    def kept(self) -> dict[str, Any]:
        """What survives a restart."""
        return {"events": b"\n".join(held.text for held in self._held)}

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from what `kept` gave. Raises ValueError for anything else."""
        self._clear()
        for text in kept["events"].split(b"\n") if kept["events"] else ():
            self._remember(decode_inference(text))

    def _remember(self, event: InferenceEvent) -> None:
        tenant = None if event.tenant is None else self._tenant_of(event.tenant)
        self._held.append(Remembered(tenant, len(event.instances), encode(event)))
        self._bytes += len(self._held[-1].text)

    def _clear(self) -> None:
        self._held.clear()
        self._bytes = 0

    def _staying(self) -> deque[Remembered]:
        younger: Counter[str | None] = Counter()
        every = 0
        staying: deque[Remembered] = deque()
        for held in reversed(self._held):
            if every < self._size or (held.tenant is not None and younger[held.tenant] < self._size):
                staying.appendleft(held)
            every += held.instances
            younger[held.tenant] += held.instances
        return staying


class WarmUp(_Memory):
    """The first 10 W instances of production, until the reference is made of them."""

    def __init__(self, size: int, tenant_of: Callable[[str], str], drift: Drift) -> None:
        super().__init__(size, tenant_of)
        self.wanted: Final = min(WINDOWS * size, MAX_INSTANCES)
        self.instances = 0
        self._binning: Final = Binning(drift.bins, drift.binning, drift.range)

    @property
    def complete(self) -> bool:
        """Whether there is enough for a reference."""
        return self.instances >= self.wanted or self._bytes >= MAX_BYTES

    def take(self, events: Sequence[InferenceEvent]) -> int:
        """Remember events until it is complete; how many of these it has taken."""
        for position, event in enumerate(events):
            if self.complete:
                return position
            self._remember(event)
        return len(events)

    def profile(self) -> Profile | None:
        """The reference, by the rules of `shadowdrift profile`; None where no column has a valid value."""
        draft = Draft("the first of the traffic", {}, hidden=True)
        rows = islice(self._rows(draft.key_ids), self.wanted)
        names: dict[str, None] = {PREDICTION: None}
        while part := list(islice(rows, _CHUNK)):
            for row in part:
                room = MAX_FEATURES + 1 - len(names)
                names.update(dict.fromkeys(islice((name for name in row if name not in names), room)))
            draft.add({name: [row.get(name) for row in part] for name in names}, len(part))
        try:
            return draft.finished(self._binning, f"the first {draft.rows} instances of production").profile
        except Refusal:
            return None

    def _rows(self, key_ids: set[str]) -> Iterator[dict[str, Any]]:
        """Every instance as a row; `key_ids` takes the keys that their strings were hashed under."""
        for event in (decode_inference(held.text) for held in self._held):
            if event.key_id is not None:
                key_ids.add(event.key_id)
            yield from map(row_of, event.instances)

    def restart(self) -> None:
        """Forget all, and begin with what comes now."""
        self._clear()

    def _remember(self, event: InferenceEvent) -> None:
        super()._remember(event)
        self.instances += len(event.instances)

    def _clear(self) -> None:
        super()._clear()
        self.instances = 0


class Recent(_Memory):
    """The last events of a role, as far as a window holds instances of theirs."""

    def __init__(self, size: int, tenant_of: Callable[[str], str]) -> None:
        super().__init__(size, tenant_of)
        self._look_at = 2 * size

    def take(self, events: Iterable[InferenceEvent]) -> None:
        """Remember events, and forget what no window would hold any more."""
        for event in events:
            self._remember(event)
        if len(self._held) >= self._look_at:
            self._forget()
            self._look_at = 2 * len(self._held) + self._size
        while self._bytes > MAX_BYTES:
            self._bytes -= len(self._held.popleft().text)

    def kept(self) -> dict[str, Any]:
        """What survives a restart."""
        self._forget()
        return super().kept()

    def _forget(self) -> None:
        self._held = self._staying()
        self._bytes = sum(len(held.text) for held in self._held)


def encoded(profile: Profile) -> bytes:
    """A reference that was made of the traffic, as it is kept."""
    return msgspec.json.encode(profile)


def decoded(text: bytes) -> Profile:
    """The same, back again. Raises ValueError for anything else."""
    return msgspec.json.decode(text, type=Profile)
