"""The demo's flights as both of its models answer them, and the ways in which requests can be made of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from demo.drift import normal
from demo.flights import Flights, Halves, load
from demo.models import Model, train
from events.inference import Instance
from reference.draft import Draft
from reference.profile import Binning, Profile

Indices = NDArray[np.int64]

DAY_SECONDS: Final = 86_400.0
BATCH: Final = 10


@dataclass(frozen=True)
class Answered:
    """n flights, each as an instance with v2's and with v1's prediction, and the truth: 1 where it was late."""

    flights: Flights
    instances: dict[str, list[Instance]]
    """By version."""
    truths: list[int]


class World:
    """What `make demo` makes of a seed: two models of one half of the winter's flights, and the profile of v2."""

    def __init__(self, seed: int, flights: int | None = None) -> None:
        """`flights`: of each half at most so many, which is quicker."""
        self.seed: Final = seed
        whole = load(seed)
        training, traffic = (half.take(np.arange(len(half))[:flights]) for half in (whole.training, whole.traffic))
        self.halves: Final = Halves(training, traffic, whole.july)
        training = self.halves.training
        self._models: dict[str, Model] = {version: train(version, training, seed) for version in ("v2", "v1")}
        draft = Draft("flights", {})
        predictions = self._models["v2"].predict(training.rows()).tolist()
        draft.add_rows([{**row, "prediction": each} for row, each in zip(training.rows(), predictions, strict=True)])
        self.profile: Final[Profile] = draft.finished(Binning()).profile
        self.normal: Final = self.answered(normal(self.halves, seed))

    def answered(self, flights: Flights) -> Answered:
        """Both models' answers to all of them. The profile lists every category, so that no string is hidden."""
        rows = flights.rows()
        instances = {
            version: [Instance(dict(row), each) for row, each in zip(rows, model.predict(rows).tolist(), strict=True)]
            for version, model in self._models.items()
        }
        return Answered(flights, instances, flights.late.astype(int).tolist())


class Requests(Protocol):
    """Which flights are asked about."""

    def next(self, count: int, at: float) -> list[Sequence[int]]:
        """The flights of so many requests, sent at `at` seconds since the beginning."""
        ...


class InTurn:
    """As the demo and the stack send them: one after the other, from somewhere on, and round again."""

    def __init__(self, world: World, seed: int) -> None:
        """The order is the world's."""
        self._size = len(world.normal.truths)
        self._at = int(np.random.default_rng([seed, 1]).integers(self._size))

    def next(self, count: int, at: float) -> list[Sequence[int]]:
        """One flight a request."""
        first, self._at = self._at, self._at + count
        return [((first + each) % self._size,) for each in range(count)]


class Drawn:
    """Each by chance out of all, whatever came before."""

    def __init__(self, world: World, seed: int) -> None:
        self._size = len(world.normal.truths)
        self._chance = np.random.default_rng([seed, 1])

    def next(self, count: int, at: float) -> list[Sequence[int]]:
        """One flight a request."""
        return [(each,) for each in self._chance.integers(self._size, size=count).tolist()]


class Batches:
    """Ten flights a request, all of one hour at one airport: they share their weather, and so are no ten witnesses."""

    def __init__(self, world: World, seed: int) -> None:
        self._chance = np.random.default_rng([seed, 2])
        columns = world.normal.flights.columns
        names = ("origin", "hour", "temp", "dewp", "wind_dir", "wind_speed", "pressure")
        groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for index, key in enumerate(zip(*(map(str, columns[name]) for name in names), strict=True)):
            groups[key].append(index)
        self._group: list[list[int]] = [[]] * len(world.normal.truths)
        for members in groups.values():
            for index in members:
                self._group[index] = members

    def next(self, count: int, at: float) -> list[Sequence[int]]:
        """Each flight is as likely as any other; those of one request are not independent."""
        first = self._chance.integers(len(self._group), size=count).tolist()
        places = self._chance.random((count, BATCH))
        return [
            [self._group[index][int(place * len(self._group[index]))] for place in row]
            for index, row in zip(first, places, strict=True)
        ]


class Wander:
    """Each by chance, but warm flights are likelier by day and cold ones by night: the mean temperature swings by so
    many standard deviations, once a day."""

    def __init__(self, world: World, seed: int, amplitude: float = 0.25) -> None:
        self._chance = np.random.default_rng([seed, 3])
        self._amplitude = amplitude
        temp = world.normal.flights.columns["temp"].astype(float)
        self._z = np.nan_to_num((temp - np.nanmean(temp)) / np.nanstd(temp))
        self._minute = -1
        self._whole: NDArray[np.float64] = np.empty(0)

    def next(self, count: int, at: float) -> list[Sequence[int]]:
        """One flight a request; the weights are those of the minute."""
        minute = int(at // 60)
        if minute != self._minute:
            self._minute = minute
            self._whole = np.cumsum(np.exp(self._amplitude * np.sin(2 * np.pi * at / DAY_SECONDS) * self._z))
        drawn = np.searchsorted(self._whole, self._chance.random(count) * self._whole[-1], side="right")
        return [(each,) for each in np.minimum(drawn, len(self._z) - 1).tolist()]
