"""What looks like personal data in a text: found, counted, and put out of sight.

RE2 finds what may be something, in time proportional to the text; checksums decide. Where it is not sure how far a
thing reaches, more is taken rather than less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from configuration.pattern import compiled
from configuration.privacy import BUILT_IN

_CARD: Final = (13, 19)
_LONGEST_RUN: Final = 40
"""Digits; more in one run are no number that anybody would miss, and stand for a card as a whole."""

_IBAN: Final = (15, 34)
_IBAN_LENGTHS: Final = {
    country: int(length)
    for length, countries in (
        line.split(":")
        for line in (
            "15:NO", "16:BE", "18:DK FI FO GL NL SD", "19:MK SI", "20:AT BA EE KZ LT LU MN XK", "21:CH HR LI LV",
            "22:BG BH CR DE GB GE IE ME RS VA", "23:AE GI IL IQ OM SO TL", "24:AD CZ ES MD PK RO SA SE SK TN VG",
            "25:LY PT ST", "26:IS TR", "27:BI DJ FR GR IT MC MR SM", "28:AL AZ BY CY DO GT HU LB NI PL SV",
            "29:BR EG PS QA UA", "30:JO KW MU", "31:MT SC", "32:LC", "33:RU",
        )
    )
    for country in countries.split()
}  # fmt: skip
"""By country (the SWIFT registry of ISO 13616). One that is not here may have any length."""
_SEPARATORS: Final = " -.\u00a0"

Span = tuple[int, int]
Finder = Callable[[str], Iterator[Span]]


def _email() -> Finder:
    expression = compiled(r"[^\s@,;:<>()\[\]\"']+@[^\s@,;:<>()\[\]\"']+\.[^\s@,;:<>()\[\]\"'.]{2,}")

    def find(text: str) -> Iterator[Span]:
        return (match.span() for match in expression.finditer(text)) if "@" in text else iter(())

    return find


def _card() -> Finder:
    expression = compiled(r"\p{Nd}(?:[ \-.\x{a0}]?\p{Nd}){12,}")

    def find(text: str) -> Iterator[Span]:
        if not _has_digits(text, _CARD[0]):
            return
        for match in expression.finditer(text):
            start = match.start()
            places = [start + index for index, character in enumerate(match.group()) if character not in _SEPARATORS]
            digits = [int(text[place]) for place in places]
            if len(digits) > _LONGEST_RUN:
                yield match.span()
                continue
            yield from _cards(digits, places)

    return find


def _cards(digits: list[int], places: list[int]) -> Iterator[Span]:
    """All that lies in a stretch whose check digit fits: where several overlap, what they cover together."""
    start = end = 0
    for first in range(len(digits) - _CARD[0] + 1):
        for size in range(min(_CARD[1], len(digits) - first), _CARD[0] - 1, -1):
            if luhn(digits[first : first + size]):
                if first >= end > start:
                    yield places[start], places[end - 1] + 1
                start, end = (first if first >= end else start), max(end, first + size)
                break
    if end > start:
        yield places[start], places[end - 1] + 1


def luhn(digits: list[int]) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1); zeros alone are no number."""
    doubled = [digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[-2::-2]]
    return any(digits) and (sum(doubled) + sum(digits[-1::-2])) % 10 == 0


def _iban() -> Finder:
    expression = compiled(r"(?i)\b[a-z]{2}[0-9]{2}")

    def find(text: str) -> Iterator[Span]:
        position = 0
        for match in expression.finditer(text) if _has_digits(text, _IBAN[0]) else ():
            start = match.start()
            if start >= position and (end := _iban_end(text, start)):
                yield start, end
                position = end

    return find


def _iban_end(text: str, start: int) -> int:
    """Where an account number ends whose check digits fit (ISO 13616: rearranged, modulo 97, it is 1); 0: none.

    Of the length that its country has, or else the longest that fits.
    """
    country_and_check = "".join(str(int(character, 36)) for character in text[start : start + 4])
    behind, scale = int(country_and_check), 10 ** len(country_and_check)
    remainder, size, end, place = 0, 4, 0, start + 4
    length = _IBAN_LENGTHS.get(text[start : start + 2].upper())
    while place < len(text) and size < (length or _IBAN[1]):
        if text[place] in " -" and place + 1 < len(text):
            place += 1
        character = text[place]
        if not (character.isascii() and character.isalnum()):
            break
        value = int(character, 36)
        remainder = (remainder * (100 if value > 9 else 10) + value) % 97
        size, place = size + 1, place + 1
        if size >= (length or _IBAN[0]) and (remainder * scale + behind) % 97 == 1:
            end = place
    return end


def _phone() -> Finder:
    expression = compiled(r"[+(]{0,2}\p{Nd}(?:[ ().\-/\x{a0}]{0,3}\p{Nd}){6,}")
    local = compiled(r"^\p{Nd}{3}[\-. ]\p{Nd}{4}$")

    def find(text: str) -> Iterator[Span]:
        if not _has_digits(text, 7):
            return
        for match in expression.finditer(text):
            found = match.group()
            if sum(map(str.isdigit, found)) >= 9 or found.startswith("+") or local.search(found):
                yield match.span()

    return find


def _has_digits(text: str, at_least: int) -> bool:
    return len(text) >= at_least and any(map(str.isdigit, text))


_FINDERS: Final[dict[str, Callable[[], Finder]]] = {"email": _email, "iban": _iban, "card": _card, "phone": _phone}
assert tuple(_FINDERS) == BUILT_IN


def _own(pattern: str) -> Finder:
    expression: Any = compiled(pattern)

    def find(text: str) -> Iterator[Span]:
        return (match.span() for match in expression.finditer(text) if match.end() > match.start())

    return find


class Patterns:
    """The built-in patterns, then `redacted` ones of the user's, which are put out of sight too, then counted ones."""

    def __init__(self, redacted: Mapping[str, str] = {}, counted: Mapping[str, str] = {}) -> None:
        self._hiding = {name: make() for name, make in _FINDERS.items()} | {
            name: _own(pattern) for name, pattern in redacted.items()
        }
        self._counting = {name: _own(pattern) for name, pattern in counted.items()}

    def redact(self, text: str) -> str:
        """The text with `[name]` in place of what a pattern finds; what one has taken, no later one sees."""
        for name, find in self._hiding.items():
            text = _without(text, list(find(text)), f"[{name}]")
        return text

    def finds(self, text: str) -> str | None:
        """The first pattern of personal data that finds something."""
        return next((name for name, find in self._hiding.items() if next(find(text), None) is not None), None)

    def count(self, text: str) -> dict[str, int]:
        """How often each pattern is found; one that is not found is left out."""
        found = {name: sum(1 for _ in find(text)) for name, find in self._counting.items()}
        rest = text
        for name, find in self._hiding.items():
            spans = list(find(rest))
            if spans:
                found[name] = found.get(name, 0) + len(spans)
                rest = _without(rest, spans, " ")
        return {name: times for name, times in found.items() if times}


def _without(text: str, spans: list[Span], instead: str) -> str:
    if not spans:
        return text
    pieces, position = [], 0
    for start, end in spans:
        if end > position:
            pieces += [text[position : max(start, position)], instead]
            position = end
    return "".join([*pieces, text[position:]])
