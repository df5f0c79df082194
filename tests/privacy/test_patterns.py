"""What is found in a text: all of what it should be, however it is written, and little of what it should not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.patterns import Patterns, luhn

FOUND = {
    "an address": ("mail jo.x+1@mail.example.co.uk, please", "mail [email], please"),
    "one of another alphabet": ("ö@exämple.de", "[email]"),
    "two of them": ("<a@b.cc> and (c@d.ee)", "<[email]> and ([email])"),
    "a card": ("pay 4111111111111111", "pay [card]"),
    "in groups": ("4111 1111 1111 1111 until 12/29", "[card] until 12/29"),
    "with dashes": ("card=5500-0055-5555-5559.", "card=[card]."),
    "of 15 digits": ("378282246310005", "[card]"),
    "among other digits": ("nr 00 4111 1111 1111 1111", "nr [card]"),
    "a telephone number": ("call +49 (171) 234-5678 now", "call [phone] now"),
    "without a country": ("0171/2345678", "[phone]"),
    "a short one": ("555-0199", "[phone]"),
    "in other digits": ("\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668", "[phone]"),
    "an account": ("to DE89 3704 0044 0532 0130 00 today", "to [iban] today"),
    "in small letters": ("gb82west12345698765432", "[iban]"),
    "behind something like one": ("XX12 GB82 WEST 1234 5698 7654 32", "XX12 [iban]"),
    "in another one's place": ("NL91 ABNA 0417 1643 00, BE68 5390 0754 7034", "[iban], [iban]"),
    "digits without end": ("7" * 60, "[card]"),
}


@pytest.mark.parametrize("case", FOUND)
def test_personal_data_is_taken_out_of_a_text(case: str) -> None:
    """And the text around it stays."""
    text, expected = FOUND[case]
    assert Patterns().redact(text) == expected


@pytest.mark.parametrize(
    "text", ["", "2026-11-25", "12:30", "3.14159", "1,000,000", "v1.2.3", "a @ b", "x@y", "ID 123456"]
)
def test_what_is_none_stays(text: str) -> None:
    """Dates, times, amounts, short numbers."""
    assert Patterns().redact(text) == text
    assert Patterns().finds(text) is None
    assert Patterns().count(text) == {}


CARDS = st.lists(st.integers(0, 9), min_size=12, max_size=18).filter(any)


def with_check_digit(digits: list[int]) -> list[int]:
    """A number that is valid."""
    return next([*digits, last] for last in range(10) if luhn([*digits, last]))


@settings(derandomize=True, deadline=None)
@given(CARDS, st.sampled_from(["", " ", "-"]), st.text("abc .", max_size=9), st.text("xyz ,", max_size=9))
def test_no_card_stays_wherever_it_stands(digits: list[int], separator: str, before: str, behind: str) -> None:
    """In groups of four or in one; the rest stays."""
    number = "".join(map(str, with_check_digit(digits)))
    written = separator.join(number[at : at + 4] for at in range(0, len(number), 4))
    assert written not in Patterns().redact(f"{before} {written} {behind}")


def iban(text: str) -> bool:
    """As ISO 13616 has it."""
    return int("".join(str(int(character, 36)) for character in text[4:] + text[:4])) % 97 == 1


@settings(derandomize=True, deadline=None)
@given(st.sampled_from(["DE", "FR", "XX"]), st.text("0123456789ABC", min_size=23, max_size=23), st.booleans())
def test_no_account_stays_wherever_it_stands(country: str, number: str, grouped: bool) -> None:
    """With whatever behind it; of a country that nobody has heard of too."""
    number = number[:18] if country == "DE" else number
    check = next(f"{digits:02}" for digits in range(100) if iban(f"{country}{digits:02}{number}"))
    whole = country + check + number
    written = " ".join(whole[at : at + 4] for at in range(0, len(whole), 4)) if grouped else whole
    assert written not in Patterns().redact(f"from {written} thank you")


def test_patterns_of_ones_own_are_taken_out_or_only_counted() -> None:
    """The first kind is counted as well, in what the built-in ones have left."""
    patterns = Patterns({"staff": r"E-\d+"}, {"slang": "kaput"})
    assert patterns.redact("E-12 says kaput to e@x.org") == "[staff] says kaput to [email]"
    assert patterns.count("E-12 says kaput, kaput, to e@x.org") == {"staff": 1, "slang": 2, "email": 1}
    assert patterns.finds("E-12") == "staff"


@pytest.mark.parametrize("text", ["1" * 60_000, "DE11 " * 12_000, "a@" * 30_000, "1 " * 30_000, "4111-" * 12_000])
def test_a_hostile_text_ends(text: str) -> None:
    """In time proportional to its length: a hundred times what is usual would never end here."""
    Patterns().redact(text)


@settings(derandomize=True, deadline=None)
@given(st.text())
def test_any_text_can_be_searched(text: str) -> None:
    """And what is found once is not found in what is left of it."""
    assert Patterns().finds(Patterns().redact(text)) is None or "@" in text or any(map(str.isdigit, text))
    Patterns().count(text)
