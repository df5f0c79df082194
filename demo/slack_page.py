"""The stand-in Slack's page: each message about as Slack shows it, with nothing fetched from elsewhere."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from demo.slack_markup import as_html, decoded, safe_address

Payload = Mapping[str, Any]

_COLOURS: Final = {"good": "#2eb67d", "warning": "#ecb22e", "danger": "#e01e5a"}

_STYLE: Final = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #f8f8f8; color: #1d1c1d;
  font: 15px/1.47 Lato, "Helvetica Neue", Helvetica, Arial, sans-serif; }
header { background: #3f0e40; color: #fff; padding: 12px 20px; display: flex; gap: 16px; align-items: baseline; }
header b { font-size: 18px; }
header span { color: #d9c5da; font-size: 13px; }
/* Newest first in the document, and from the bottom on the page: so it opens at the end of the talk, as Slack does. */
main { max-width: 860px; margin: 0 auto; background: #fff; height: calc(100vh - 51px); padding: 12px 0;
  overflow-y: auto; display: flex; flex-direction: column-reverse; border: solid #e8e8e8; border-width: 0 1px; }
article { display: grid; grid-template-columns: 36px 1fr; gap: 0 10px; padding: 10px 20px; }
article:hover { background: #f8f8f8; }
article > * { min-width: 0; }
.avatar { width: 36px; height: 36px; border-radius: 6px; background: #1264a3; color: #fff; font-weight: 700;
  display: grid; place-items: center; }
.who { font-weight: 900; }
.app { background: #e8e8e8; border-radius: 2px; color: #616061; font-size: 10px; padding: 1px 3px; margin: 0 6px;
  font-weight: 700; vertical-align: 1px; }
time, .footer, .context { color: #616061; font-size: 12px; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; }
.attachment { border-left: 4px solid #ddd; border-radius: 4px; padding: 2px 0 2px 12px; margin-top: 6px; }
.title { font-weight: 700; }
a { color: #1264a3; text-decoration: none; }
a:hover { text-decoration: underline; }
.fields { display: grid; grid-template-columns: 1fr 1fr; gap: 6px 16px; margin-top: 8px; }
.fields > div { grid-column: 1 / -1; }
.fields > .short { grid-column: auto; }
.name { font-weight: 700; font-size: 13px; }
.actions { display: flex; flex-wrap: wrap; gap: 8px; margin: 8px 0 4px; }
.actions a { border: 1px solid #bbb; border-radius: 4px; padding: 3px 12px; font-weight: 700; font-size: 13px;
  color: #1d1c1d; }
.footer { margin-top: 6px; }
.mention { background: #e01e5a; color: #fff; border-radius: 3px; padding: 0 3px; font-weight: 700; }
code { color: #e01e5a; background: #f6f6f6; border: 1px solid #ddd; border-radius: 3px; padding: 1px 3px;
  font-size: 12px; }
pre { background: #f6f6f6; border: 1px solid #ddd; border-radius: 4px; padding: 8px; margin: 4px 0;
  white-space: pre-wrap; }
h3 { font-size: 18px; margin: 4px 0; }
hr { border: 0; border-top: 1px solid #ddd; margin: 10px 0; }
.empty { color: #616061; padding: 80px 20px; text-align: center; }
"""


def page(messages: Sequence[Mapping[str, Any]]) -> str:
    """The whole page, the newest message first, shown at the bottom. Each has `received` (text) and `payload`."""
    count = f"{len(messages)} message{'s' if len(messages) != 1 else ''}"
    shown = "".join(_message(message) for message in reversed(messages))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<title>{len(messages)} · stand-in Slack</title><style>{_STYLE}</style></head><body>"
        f"<header><b># alerts</b><span>stand-in Slack · {count} · looks again every 5 s</span></header><main>"
        f"{shown or _EMPTY}</main></body></html>"
    )


_EMPTY: Final = '<p class="empty">Nothing has arrived yet. An alert takes as long as its rule says, then 10 s more.</p>'


def _message(message: Mapping[str, Any]) -> str:
    payload: Payload = message["payload"]
    name = _string(payload.get("username")) or "incoming webhook"
    named = calls_by_name(payload)
    blocks = _mappings(payload.get("blocks"))
    body = [_block(block, named) for block in blocks]
    if not blocks:  # beside blocks Slack shows the text in notifications alone
        body = [_text("text", payload.get("text"), mrkdwn=payload.get("mrkdwn", True) is not False, link_names=named)]
    body += [_attachment(attachment, named) for attachment in _mappings(payload.get("attachments"))]
    return (
        f'<article><div class="avatar">{html.escape(name[:1].upper())}</div><div><span class="who">{html.escape(name)}'
        f'</span><span class="app">APP</span><time>{html.escape(str(message["received"]))}</time>{"".join(body)}'
        "</div></article>"
    )


def calls_by_name(payload: Payload) -> bool:
    """Whether the sender asked Slack to look for bare names such as @channel."""
    return bool(payload.get("link_names")) or payload.get("parse") == "full"


def _attachment(attachment: Payload, named: bool) -> str:
    marked = attachment.get("mrkdwn_in")
    marked = marked if isinstance(marked, list) else []
    colour = _string(attachment.get("color"))
    colour = _COLOURS.get(colour, colour if re.fullmatch(r"#[0-9a-fA-F]{3,8}", colour) else "#ddd")
    parts = [_text("text", attachment.get("pretext"), mrkdwn="pretext" in marked, link_names=named)]
    parts.append(f'<div class="attachment" style="border-color:{colour}">')
    if title := _string(attachment.get("title")):
        parts.append(f'<div class="title">{_linked(decoded(title), attachment.get("title_link"))}</div>')
    parts.append(_text("text", attachment.get("text"), mrkdwn="text" in marked, link_names=named))
    parts += [_block(block, named) for block in _mappings(attachment.get("blocks"))]
    if fields := _mappings(attachment.get("fields")):
        shown = "".join(
            f'<div class="{"short" if field.get("short") else ""}">'
            f'<div class="name">{html.escape(decoded(_string(field.get("title"))))}</div>'
            f"{_text('text', field.get('value'), mrkdwn='fields' in marked, link_names=named)}</div>"
            for field in fields
        )
        parts.append(f'<div class="fields">{shown}</div>')
    parts.append(_actions(_mappings(attachment.get("actions"))))
    parts.append(_text("footer", attachment.get("footer"), mrkdwn=False, link_names=named))
    return "".join(parts) + "</div>"


def _block(block: Payload, named: bool) -> str:
    match block.get("type"):
        case "divider":
            return "<hr>"
        case "header":
            return f"<h3>{_object(block.get('text'), named)}</h3>"
        case "section":
            fields = "".join(
                f'<div class="short">{_object(one, named)}</div>' for one in _mappings(block.get("fields"))
            )
            grid = f'<div class="fields">{fields}</div>' if fields else ""
            return _object(block.get("text"), named) + grid
        case "context":
            return (
                f'<div class="context">{"".join(_object(one, named) for one in _mappings(block.get("elements")))}</div>'
            )
        case "actions":
            return _actions(_mappings(block.get("elements")))
        case _:
            return ""


def _object(text: object, named: bool) -> str:
    """Slack's text object; plain text is shown byte for byte but for the escapes."""
    if not isinstance(text, Mapping):
        return ""
    if text.get("type") == "plain_text":
        return f'<div class="text">{html.escape(decoded(_string(text.get("text"))))}</div>'
    return _text("text", text.get("text"), mrkdwn=True, link_names=named)


def _actions(actions: Iterable[Payload]) -> str:
    shown = []
    for action in actions:
        label = action.get("text")
        label = label.get("text") if isinstance(label, Mapping) else label
        if address := safe_address(_string(action.get("url"))):
            shown.append(f'<a href="{html.escape(address)}">{html.escape(decoded(_string(label)))}</a>')
    return f'<div class="actions">{"".join(shown)}</div>' if shown else ""


def _linked(text: str, url: object) -> str:
    address = safe_address(_string(url))
    escaped = html.escape(text)
    return f'<a href="{html.escape(address)}">{escaped}</a>' if address else escaped


def _text(kind: str, text: object, *, mrkdwn: bool, link_names: bool) -> str:
    if not (given := _string(text).strip("\n")):
        return ""
    return f'<div class="{kind}">{as_html(given, mrkdwn=mrkdwn, link_names=link_names)}</div>'


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _mappings(value: object) -> list[Payload]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
