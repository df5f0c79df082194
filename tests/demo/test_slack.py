"""The stand-in Slack: what it takes, what it shows, and what it would have called."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer

from demo.slack import KEPT, Slack
from demo.slack_markup import as_html, mentions, shown
from tests.support.slack import stand_in_slack

AT = datetime(2026, 11, 20, 3, 14, 15, tzinfo=UTC)


@pytest.fixture
async def slack() -> AsyncIterator[TestClient[Any, Any]]:
    """A client of one whose clock stands still."""
    async with TestClient(TestServer(Slack(lambda: AT).application())) as client:
        yield client


async def _shown(slack: TestClient[Any, Any]) -> tuple[str, list[dict[str, Any]]]:
    """The page and the messages."""
    return await (await slack.get("/")).text(), await (await slack.get("/messages")).json()


async def test_a_message_comes_as_json_to_any_path(slack: TestClient[Any, Any]) -> None:
    """And is answered as Slack does."""
    answer = await slack.post("/services/T0/B0/secret", json={"text": "hello"})
    assert (answer.status, await answer.text()) == (200, "ok")
    page, messages = await _shown(slack)
    assert "hello" in page
    assert messages == [
        {
            "received": "2026-11-20 03:14:15 UTC",
            "path": "/services/T0/B0/secret",
            "payload": {"text": "hello"},
            "texts": ["hello"],
            "mentions": [],
        }
    ]


async def test_a_message_comes_as_a_form_too(slack: TestClient[Any, Any]) -> None:
    """With the JSON in the field `payload`."""
    answer = await slack.post("/x", data={"payload": json.dumps({"text": "from a form"})})
    assert answer.status == 200
    assert (await _shown(slack))[1][0]["payload"] == {"text": "from a form"}


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "invalid_payload"),
        (b"{", "invalid_payload"),
        (b"[]", "invalid_payload"),
        (b"\xff", "invalid_payload"),
        (b"[" * 100_000, "invalid_payload"),
        (b"{}", "no_text"),
        (b'{"text": ""}', "no_text"),
    ],
    ids=["empty", "cut", "a list", "no UTF-8", "deep", "nothing", "an empty text"],
)
async def test_what_slack_would_refuse_is_refused_with_its_word(
    slack: TestClient[Any, Any], body: bytes, word: str
) -> None:
    """And not kept."""
    answer = await slack.post("/x", data=body, headers={"Content-Type": "application/json"})
    assert (answer.status, await answer.text()) == (400, word)
    assert (await _shown(slack))[1] == []


async def test_a_body_above_a_mebibyte_is_refused(slack: TestClient[Any, Any]) -> None:
    """Its memory is bounded."""
    body = io.BytesIO(json.dumps({"text": "x" * 1024 * 1024}).encode())
    answer = await slack.post("/x", data=body, headers={"Content-Type": "application/json"})
    assert answer.status == 413


async def test_only_the_last_messages_are_kept_and_the_newest_is_shown_first(slack: TestClient[Any, Any]) -> None:
    """200 of them."""
    for number in range(KEPT + 5):
        await slack.post("/x", json={"text": f"number {number}."})
    page, messages = await _shown(slack)
    assert [message["texts"] for message in messages] == [[f"number {number}."] for number in range(5, KEPT + 5)]
    assert page.index("number 204.") < page.index("number 5.")


@pytest.mark.parametrize(
    ("text", "seen", "called"),
    [
        ("<!channel> look", "@channel look", ["@channel"]),
        ("<!here|here>", "here", ["here"]),
        ("<@U123>", "@U123", ["@U123"]),
        ("<#C1|general>", "general", ["general"]),
        ("&lt;!channel&gt;", "<!channel>", []),
        ("&amp;lt;", "&lt;", []),
        ("&quot; &#39; &nbsp;", "&quot; &#39; &nbsp;", []),
        ("<https://a.example|a &amp; b>", "a & b", []),
        ("@channel", "@channel", []),
        ("< > <|>", "< > <|>", []),
    ],
)
def test_markup_is_read_as_slack_reads_it(text: str, seen: str, called: list[str]) -> None:
    """Three escapes are decoded, once; angle brackets call and link."""
    assert shown(text) == seen
    assert mentions(text) == called


def test_a_bare_name_calls_where_the_sender_asked_for_it() -> None:
    """As with `link_names: true`."""
    assert mentions("@channel and @bob, mail a@b.example", link_names=True) == ["@channel", "@bob"]


def test_emphasis_is_shown_where_a_text_is_marked_and_nowhere_else() -> None:
    """mrkdwn."""
    assert as_html("*a* `b`", mrkdwn=True) == "<strong>a</strong> <code>b</code>"
    assert as_html("*a* `b`", mrkdwn=False) == "*a* `b`"


async def test_nothing_of_a_message_becomes_html(slack: TestClient[Any, Any]) -> None:
    """In every part of it; and no address but http is followed."""
    bad = '<script src="x">"\'&lt;img onerror=1&gt;'
    text = {"type": "mrkdwn", "text": bad}
    message = {
        "text": bad,
        "username": bad,
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": bad}},
            {"type": "section", "text": text, "fields": [text]},
            {"type": "context", "elements": [text, 1, None]},
            {"type": "actions", "elements": [{"text": text, "url": "javascript:alert(1)"}, {"url": f"http://x/{bad}"}]},
            {"type": "divider"},
            {"type": bad},
            "no block",
        ],
        "attachments": [
            {
                **dict.fromkeys(("pretext", "title", "text", "footer", "color", "fallback"), bad),
                "title_link": "javascript:alert(1)",
                "fields": [{"title": bad, "value": bad, "short": True}],
                "actions": [{"text": bad, "url": "data:text/html,x"}],
                "mrkdwn_in": ["text", "fields", "pretext"],
            },
            {"title": {"a": 1}, "text": 5, "fields": "x", "actions": {}, "mrkdwn_in": 7},
        ],
    }
    assert (await slack.post("/x", json=message)).status == 200
    answer = await slack.get("/")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    elements = _Elements()
    elements.feed(await answer.text())
    assert not {"script", "img", "iframe", "object"} & elements.names
    assert all(url.startswith(("http://x/", "data:,")) for url in elements.links)


async def test_the_page_fetches_nothing_from_elsewhere_and_looks_again(slack: TestClient[Any, Any]) -> None:
    """It works on a machine without a network."""
    page = await (await slack.get("/")).text()
    assert 'http-equiv="refresh"' in page
    assert "://" not in page
    assert "Nothing has arrived yet" in page


async def test_it_announces_itself_and_ends_with_its_parent() -> None:
    """As every child does."""
    async with stand_in_slack() as slack, ClientSession() as session:
        async with session.get(f"{slack.url}/-/healthy") as answer:
            assert answer.status == 200
        async with session.post(slack.webhook, json={"text": "hi"}) as answer:
            assert await answer.text() == "ok"
        assert [message["texts"] for message in await slack.messages()] == [["hi"]]


@pytest.mark.parametrize("listen", ["nowhere", "127.0.0.1:99999", "TAKEN"])
async def test_an_address_that_cannot_be_had_is_one_line(listen: str) -> None:
    """Exit code 2 and no traceback."""
    async with stand_in_slack() as other:
        address = listen.replace("TAKEN", other.url.removeprefix("http://"))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "demo.slack", "--listen", address, stderr=asyncio.subprocess.PIPE
        )
        _, told = await process.communicate()
    assert process.returncode == 2
    (line,) = told.decode().splitlines()
    assert line.startswith("shadowdrift: --listen: ")
    assert address in line


class _Elements(HTMLParser):
    """The elements of a page, and where it leads."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]
        assert not [name for name, _ in attrs if name.startswith("on")]
