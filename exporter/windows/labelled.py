"""The truth, when it comes: both models' answers to the same requests beside their labels.

Three logs meet by the request's id. Of each the last `keep` are remembered: instances of sampled production answers,
instances of shadow answers, labels. A label joins as soon as all three are there, whichever comes last; what it says is
then counted for good. So nothing depends on how the topics are read, as long as none of them is read by more than
`keep` ahead of the others. The measures are over the last W labelled instances in the order of the labels' log of which
both models' answers are of the periods that are shown (`leading`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import numpy as np

from configuration.model import Labels
from events.inference import ROLES, InferenceEvent, Role
from events.labels import LabelsEvent
from exporter.windows.answers import identity, packed, unpacked
from exporter.windows.leading import NOBODY
from exporter.windows.remembered import Entry, Remembered
from exporter.windows.scores import Measures, Scores, score
from reference.profile import Column

Result = Literal["joined", "late", "ambiguous", "waiting"]
RESULTS: Final[tuple[Result, ...]] = ("joined", "late", "ambiguous", "waiting")

_Source = Literal["production", "shadow", "labels"]


class Labelled:
    """The labels of one model."""

    def __init__(self, settings: Labels, size: int, entries: int | None = None) -> None:
        """`size` is W; `entries` those of a chunk of memory, for tests."""
        self.size: Final = size
        self.revision = 0
        """Another number after each change."""
        self.shown: Final[dict[Role, int]] = dict.fromkeys(ROLES, NOBODY)
        """Which period of each role."""
        self._answers: Final[dict[Role, Remembered]] = {role: Remembered(settings.keep, entries) for role in ROLES}
        """Those that may still get a label; what was said begins with the period."""
        self._labels: Final = Remembered(settings.keep, entries)
        self._settled: Final = bytearray(settings.keep)
        """By a label's number modulo `keep`: 1 where it has joined, or turned out not to fit."""
        self._scores: Final = Scores(size)
        self._source: _Source = "labels"
        self._waiting: list[tuple[bytes, int, bytes]] = []
        """What came from `_source` and has not been looked up: key, number of its last instance, what was said."""
        self._counts: Counter[str] = Counter()

    def take(self, event: InferenceEvent, key: bytes, period: int) -> None:
        """Take an answer of that period that enters, of at least one instance; `key` is the identity of its id."""
        self._from(event.role)
        said = packed([period, *[instance.prediction for instance in event.instances]])
        last = self._answers[event.role].add(key, len(event.instances), said)
        if self._labels.total:
            self._waiting.append((key, last, said))

    def take_labels(self, event: LabelsEvent) -> None:
        """Take a label event; whether it came before is told by `flush`."""
        self._from("labels")
        self._waiting.append((identity(event.id), 0, packed(event.labels)))

    def flush(self) -> Counter[str]:
        """Look up what waits; how many label events were accepted (`events`) or came before (`duplicate`), and results.

        Of an accepted one that has not joined (`late`, `waiting`) the result is told once more when it does.
        """
        self._look_up()
        counts, self._counts = self._counts, Counter()
        return counts

    def measures(self, column: Column | None) -> Measures:
        """Both models against the truth; see `Scores.measures`."""
        return self._scores.measures(column, (self.shown["production"], self.shown["shadow"]))

    def kept(self) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """What survives a restart, nothing may wait: what is small, and named parts.

        Parts named `<source>.<number>` never change, and are the same objects each time.
        """
        parts = {f"{source}.{name}": part for source, memory in self._memories() for name, part in memory.kept()}
        settled = np.packbits(np.frombuffer(self._settled, np.uint8)).tobytes()
        return {"scores": self._scores.kept(), "settled": settled}, parts

    def restore(self, kept: dict[str, Any], parts: Mapping[str, dict[str, Any]]) -> None:
        """Go on from what `kept` gave. Raises ValueError for anything else, also where another `keep` was set."""
        settled = np.unpackbits(np.frombuffer(kept["settled"], np.uint8))
        if (len(self._settled) + 7) // 8 * 8 != len(settled):
            raise ValueError("labels of another labels.keep are kept")
        for source, memory in self._memories():
            prefix = f"{source}."
            memory.restore({name[len(prefix) :]: part for name, part in parts.items() if name.startswith(prefix)})
        self._scores.restore(kept["scores"])
        self._settled[:] = settled[: len(self._settled)].tobytes()

    def _from(self, source: _Source) -> None:
        """What waits came from one topic, so that nothing else changes before it is looked up."""
        if self._source != source:
            self._look_up()
            self._source = source
        self.revision += 1

    def _memories(self) -> Iterator[tuple[str, Remembered]]:
        yield from self._answers.items()
        yield "labels", self._labels

    def _look_up(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        if self._source == "labels":
            self._enter(waiting)
            return
        keys = [key for key, _, _ in waiting]
        labels = self._labels.find(keys)
        if not labels:
            return
        others = self._answers["shadow" if self._source == "production" else "production"].find([*labels])
        for key, last, said in waiting:
            if key in others and key in labels and not self._settled[labels[key].last % len(self._settled)]:
                pair = Entry(last, said), others[key]
                self._join(labels[key], *(pair if self._source == "production" else reversed(pair)))

    def _enter(self, waiting: list[tuple[bytes, int, bytes]]) -> None:
        """Labels in their order: each is new, a duplicate of one that is remembered, or contradicts one."""
        keys = [key for key, _, _ in waiting]
        before = self._labels.find(keys)
        production = self._answers["production"].find(keys)
        shadow = self._answers["shadow"].find([*production])
        for key, _, said in waiting:
            former = before.get(key)
            if former is not None and former.last > self._labels.total - self._labels.keep:
                same = unpacked(former.said) == unpacked(said)
                self._counts.update(["duplicate"] if same else ["events", "ambiguous"])
                continue
            label = before[key] = Entry(self._labels.add(key, 1, said), said)
            self._counts["events"] += 1
            if self._settled:
                self._settled[label.last % len(self._settled)] = 0
            if key in shadow:
                self._join(label, production[key], shadow[key])
            else:
                gone = key not in production and self._answers["production"].forgotten(key)
                self._counts["late" if gone else "waiting"] += 1

    def _join(self, label: Entry, production: Entry, shadow: Entry) -> None:
        """Count what a label says of both answers."""
        if self._settled:
            self._settled[label.last % len(self._settled)] = 1
        truths, (our_period, *ours) = unpacked(label.said), unpacked(production.said)
        their_period, *theirs = unpacked(shadow.said)
        if not len(truths) == len(ours) == len(theirs):
            self._counts["ambiguous"] += 1
            return
        self._counts["joined"] += 1
        for index, (truth, our, their) in enumerate(zip(truths, ours, theirs, strict=True)):
            first, second = score(our, truth), score(their, truth)
            if first is not None and second is not None:
                self._scores.add(label.last, index, (our_period, their_period), first, second)
