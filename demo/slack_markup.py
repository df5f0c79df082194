"""What Slack makes of a message's text: which parts are markup, whom it would call, and what a reader sees.

Slack decodes `&amp;`, `&lt;` and `&gt;` and nothing else. `<!channel>`, `<@U123>`, `<#C123>` and `<https://…|label>`
have a meaning everywhere; `*bold*`, `_italic_`, `~struck~` and `` `code` `` only where a text is marked as mrkdwn.
With `link_names` or `parse: full` a bare @channel calls as well.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["text", "mention", "link"]

_SEQUENCE: Final = re.compile(r"<([^<>\n]+)>")
_BARE: Final = re.compile(r"(?<![\w@])@(?:channel|here|everyone)\b|(?<![\w@])@[a-z0-9][a-z0-9._-]*")
_ADDRESS: Final = re.compile(r"(?:https?|mailto|tel):", re.IGNORECASE)
_EMPHASIS: Final = (
    (re.compile(r"```(.+?)```", re.DOTALL), "pre"),
    (re.compile(r"`([^`\n]+)`"), "code"),
    (re.compile(r"(?<!\w)\*([^*\n]+)\*(?!\w)"), "strong"),
    (re.compile(r"(?<!\w)_([^_\n]+)_(?!\w)"), "em"),
    (re.compile(r"(?<!\w)~([^~\n]+)~(?!\w)"), "s"),
)


@dataclass(frozen=True)
class Piece:
    """A part of a text: what is shown, and for a link where it leads."""

    kind: Kind
    shown: str
    target: str = ""


def pieces(text: str, *, link_names: bool = False) -> Iterator[Piece]:
    """Take a text apart as Slack does."""
    end = 0
    for found in _SEQUENCE.finditer(text):
        yield from _bare(text[end : found.start()], link_names)
        yield _sequence(found[1])
        end = found.end()
    yield from _bare(text[end:], link_names)


def decoded(text: str) -> str:
    """The three escapes that Slack knows; `&amp;` last, so that nothing is decoded twice."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def shown(text: str, *, link_names: bool = False) -> str:
    """What a reader sees, without its looks."""
    return "".join(piece.shown for piece in pieces(text, link_names=link_names))


def mentions(text: str, *, link_names: bool = False) -> list[str]:
    """Whom the text calls."""
    return [piece.shown for piece in pieces(text, link_names=link_names) if piece.kind == "mention"]


def as_html(text: str, *, mrkdwn: bool, link_names: bool = False) -> str:
    """The text as HTML in which nothing of the sender's is markup."""
    return "".join(_piece_as_html(piece, mrkdwn) for piece in pieces(text, link_names=link_names))


def safe_address(url: str) -> str | None:
    """The address if a browser may be led there."""
    return url if re.match(r"https?://", url, re.IGNORECASE) else None


def _bare(text: str, link_names: bool) -> Iterator[Piece]:
    end = 0
    for found in _BARE.finditer(text) if link_names else ():
        yield Piece("text", decoded(text[end : found.start()]))
        yield Piece("mention", found[0])
        end = found.end()
    if text[end:]:
        yield Piece("text", decoded(text[end:]))


def _sequence(inner: str) -> Piece:
    target, _, label = inner.partition("|")
    if target[:1] == "!":
        return Piece("mention", decoded(label) or "@" + decoded(target[1:].split("^")[0]))
    if target[:1] in {"@", "#"}:
        return Piece("mention", decoded(label or target))
    if _ADDRESS.match(target):
        return Piece("link", decoded(label or target), decoded(target))
    return Piece("text", decoded(f"<{inner}>"))


def _piece_as_html(piece: Piece, mrkdwn: bool) -> str:
    escaped = html.escape(piece.shown)
    if piece.kind == "mention":
        return f'<mark class="mention">{escaped}</mark>'
    if piece.kind == "link":
        address = safe_address(piece.target)
        return f'<a href="{html.escape(address)}">{escaped}</a>' if address else escaped
    if mrkdwn:
        for pattern, element in _EMPHASIS:
            escaped = pattern.sub(rf"<{element}>\1</{element}>", escaped)
    return escaped
