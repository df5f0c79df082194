"""Which version's answers of a role are compared, and when those of another one take their place."""

from __future__ import annotations


class Run:
    """The version whose answers enter, until another takes its place.

    It does when an answer of another version enters, or when as many instances as a window holds have been answered by
    others, none of which entered: so a canary to which one request in twenty goes ends nothing, and a switch to a
    version that is not cloned does. A function of one topic's log.
    """

    def __init__(self, size: int) -> None:
        self.version: str | None = None
        """None before the first, and after a switch to a version of which nothing enters."""
        self.others = 0
        """Instances that other versions have answered since it last did."""
        self._size = size

    def goes_on(self, version: str, instances: int, *, enters: bool) -> bool:
        """Whether the version that was stays in place when this many instances were answered by `version`."""
        if version == self.version:
            self.others = 0
            return True
        former = self.version
        if enters:
            self.version, self.others = version, 0
            return former is None
        if former is not None:
            self.others += instances
            if self.others >= self._size:
                self.version, self.others = None, 0
                return False
        return True

    def kept(self) -> list[str | int | None]:
        """What survives a restart."""
        return [self.version, self.others]

    def restore(self, kept: list[str | int | None]) -> None:
        """Go on from what `kept` gave. Raises ValueError for anything else."""
        version, others = kept
        if not (version is None or isinstance(version, str)) or not isinstance(others, int):
            raise ValueError("a version and a number of instances are kept")
        self.version, self.others = version, others
