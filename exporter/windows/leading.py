"""Whose answers are shown where versions of one role answer side by side, and since when they count.

A plain switch, late answers of the version before it, a canary: one log tells them apart only in hindsight. So the
answers of all versions stand in a ring, each with its version's period, and what is shown of the ring are those of one
period: nothing is lost when another version is shown, and nothing mixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

IN_A_ROW: Final = 20
"""Answers. A canary to which half of the traffic goes gives so many once in two million answers, one to which nine of
ten go within 70."""
NOBODY: Final = -1
"""The period of no version."""


class _Standing(NamedTuple):
    """A version of which something stands in the ring."""

    period: int
    """Instances that had entered when its answers began to count: another number for each period."""
    last: int
    """Instances that had entered with the last of its own."""


class Leading:
    """The version that is shown of a ring of the last W instances.

    - A version of which nothing stands in the ring is shown from its first answer, and its period begins there.
    - One of which something stands there is shown again when it has given `IN_A_ROW` answers in a row, or when the
      version that is shown has given none of the last W instances. Its period goes on.
    - Where answers do not enter the ring, nobody is shown once W instances in a row were answered by others that do
      not stand in it.

    A function of one topic's log.
    """

    def __init__(self, size: int) -> None:
        """`size` is W."""
        self.version: str | None = None
        """None before the first, and after a switch to a version of which nothing enters."""
        self.period = NOBODY
        self._size = size
        self._total = 0
        self._standing: dict[str, _Standing] = {}
        self._room = 0
        self._rival: str | None = None
        self._row = 0
        """So many answers in a row the rival has given."""
        self._others = 0
        """Instances that other versions have answered since the one that is shown last did."""

    def steady(self, version: str) -> bool:
        """Whether an answer of this version that does not enter would change nothing."""
        return self.version is None or (version == self.version and not self._row and not self._others)

    def take(self, version: str, instances: int, *, enters: bool = True) -> bool:
        """Take an answer of at least one instance; whether another version is shown now, or nobody."""
        if version == self.version:
            self._row = self._others = 0
            if enters:
                self._enter(version, self.period, instances)
            return False
        before = self._standing.get(version)
        stands = before is not None and before.last > self._total - self._size
        self._row = self._row + 1 if version == self._rival else 1
        self._rival = version
        self._others += instances
        gone = self._others >= self._size
        period = before.period if stands and before is not None else self._total
        if enters:
            self._enter(version, period, instances)
        if (enters and not stands) or (stands and (gone or self._row >= IN_A_ROW)):
            self._show(version, period)
            return True
        if gone and not stands and self.version is not None:
            self._show(None, NOBODY)
            self._standing.clear()
            return True
        return False

    def went_on(self, instances: int) -> None:
        """Take answers of the version that is shown, so many instances in all, at least one."""
        self._row = self._others = 0
        if self.version is not None:
            self._enter(self.version, self.period, instances)

    def take_all(self, versions: Sequence[str], lengths: Sequence[int]) -> tuple[list[int], int | None]:
        """Take answers that enter, of so many instances each: their periods; before which instance another took over.

        The last time, if it was more than once; None where it was not.
        """
        periods: list[int] = []
        begun, first = None, 0
        for version, length in zip(versions, lengths, strict=True):
            if length and self.take(version, length):
                begun = first
            periods.append(self.period_of(version))
            first += length
        return periods, begun

    def period_of(self, version: str) -> int:
        """Under which the answers of a version enter that has answered."""
        found = self._standing.get(version)
        return NOBODY if found is None else found.period

    def kept(self) -> dict[str, Any]:
        """What survives a restart."""
        self._forget()
        return {
            "version": self.version,
            "period": self.period,
            "total": self._total,
            "standing": {version: list(held) for version, held in self._standing.items()},
            "rival": self._rival,
            "row": self._row,
            "others": self._others,
        }

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from what `kept` gave. Raises ValueError, KeyError or TypeError for anything else."""
        version, rival = kept["version"], kept["rival"]
        numbers = [kept[name] for name in ("period", "total", "row", "others")]
        if any(not isinstance(one, str | None) for one in (version, rival)) or any(
            type(one) is not int for one in numbers
        ):
            raise ValueError("versions and numbers of instances are kept")
        self._standing = {name: _Standing(*map(int, held)) for name, held in kept["standing"].items()}
        self.version, self._rival = version, rival
        self.period, self._total, self._row, self._others = numbers

    def _show(self, version: str | None, period: int) -> None:
        self.version, self.period = version, period
        self._rival, self._row, self._others = None, 0, 0

    def _enter(self, version: str, period: int, instances: int) -> None:
        self._total += instances
        self._standing[version] = _Standing(period, self._total)
        if len(self._standing) > self._room:
            self._forget()
            self._room = 2 * len(self._standing) + 8

    def _forget(self) -> None:
        """Let those versions go of which nothing stands in the ring any more; so there are at most W."""
        gone = self._total - self._size
        self._standing = {
            name: held for name, held in self._standing.items() if held.last > gone or name == self.version
        }
