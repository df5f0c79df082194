"""Support tickets out of a seeded grammar: what a help desk's users write, and, later, how they begin to write."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

CLASSES: Final = ("network", "billing", "account", "hardware", "software")
CHANNELS: Final = ("web", "mail", "phone")
SLANG_PATTERN: Final = r"(?i)\b(kaput|rip|borked|ded|halp)\b"

_THINGS: Final = {
    "network": ["wifi", "network", "vpn", "internet connection", "wireless router", "remote access"],
    "billing": ["invoice", "bill", "payment", "monthly fee", "refund", "credit note"],
    "account": ["account", "password", "login", "user profile", "access code", "sign in page"],
    "hardware": ["printer", "laptop", "keyboard", "monitor", "docking station", "headset"],
    "software": ["mail program", "spreadsheet", "browser", "calendar", "editor", "latest update"],
}
_TROUBLES: Final = {
    "network": ["is very slow", "drops every hour", "does not connect", "has no signal", "keeps timing out"],
    "billing": ["is too high", "was charged twice", "shows the wrong amount", "has not arrived", "is not correct"],
    "account": ["is locked", "was rejected", "has expired", "does not let me in", "needs a reset"],
    "hardware": ["does not turn on", "makes a strange noise", "is damaged", "has a broken cable", "gets too hot"],
    "software": ["crashes at the start", "does not open files", "freezes", "shows an error message", "lost my changes"],
}
_GREETINGS: Final = ["hello", "dear support team", "good morning", "hi there", "to whom it may concern", ""]
_PLACES: Final = ["in room {n}", "at my desk", "in the meeting room", "at home", "on floor {n}", "in the office", ""]
_TIMES: Final = ["since yesterday", "since this morning", "for {n} days", "after the weekend", "since monday", ""]
_ENDS: Final = ["please help", "thank you", "kind regards", "please call me back", "this is urgent", "many thanks", ""]

_SLANG_THINGS: Final = {
    "network": ["wifi", "net", "inet", "wlan"],
    "billing": ["moneyz", "bill", "cashback", "payz"],
    "account": ["acct", "pw", "login", "profile thingy"],
    "hardware": ["lappy", "screen", "printy", "box"],
    "software": ["app", "mailz", "xls thingy", "update"],
}
_SLANG: Final = ["{x} kaput", "rip {x}", "{x} borked again", "{x} ded lol", "halp {x} is ded", "omg {x} kaput pls fix"]
SLANG_SHARE: Final = 0.6


@dataclass(frozen=True)
class Tickets:
    """Requests, and what each is about."""

    rows: list[dict[str, Any]]
    truths: list[str]

    @property
    def notes(self) -> list[str]:
        """Their texts."""
        return [row["note"] for row in self.rows]


def tickets(count: int, seed: int, *, slang: float = 0.0) -> Tickets:
    """So many tickets, a share `slang` of them written as friends write to each other."""
    source = random.Random(f"tickets {seed}")  # noqa: S311 - made-up tickets, no secret
    rows, truths = [], []
    for _ in range(count):
        about = source.choice(CLASSES)
        note = _slang(source, about) if source.random() < slang else _plain(source, about)
        channel = source.choices(CHANNELS, (6, 3, 1))[0]
        rows.append({"note": note, "channel": channel, "waited_minutes": round(source.lognormvariate(3, 0.6), 1)})
        truths.append(about)
    return Tickets(rows, truths)


def _plain(source: random.Random, about: str) -> str:
    trouble = f"the {source.choice(_THINGS[about])} {source.choice(_TROUBLES[about])}"
    around = [source.choice(_PLACES), source.choice(_TIMES)]
    parts = [source.choice(_GREETINGS), " ".join([trouble, *filter(None, around)]), source.choice(_ENDS)]
    return ", ".join(filter(None, parts)).replace("{n}", str(source.randrange(2, 40)))


def _slang(source: random.Random, about: str) -> str:
    return source.choice(_SLANG).replace("{x}", source.choice(_SLANG_THINGS[about]))


def accuracy(said: Sequence[str], truths: Sequence[str]) -> float:
    """The share of answers that are right."""
    return sum(one == other for one, other in zip(said, truths, strict=True)) / len(truths)
