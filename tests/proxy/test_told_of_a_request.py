"""What a request's event is told beside its features: headers that the configuration lists, and whose it is."""

import json

import pytest

from configuration.model import Tenant
from proxy.emitter.tenants import BodyTenant
from tests.proxy.conftest import Serve
from tests.proxy.test_extract import captured
from tests.support.raw_client import connected, request

HEADERS = ("X-Note: one", "x-note: two", "User-Agent: curl", "Authorization: Bearer secret", "Cookie: a=b")


async def test_headers_are_handed_over_only_where_they_are_listed(serve: Serve) -> None:
    """By their names in lower case, those of one name together; of a request without them nothing."""
    plane = await serve(privacy={"headers": ["X-Note", "Accept-Language"]})
    async with connected(plane.port) as client:
        await client.ask(request(headers=HEADERS))
        await client.ask(request())
    first, second = await plane.emitter.of_role("production", 2)
    assert first.headers == {"x-note": "one, two"}
    assert not second.headers


async def test_without_a_list_no_header_is_handed_over(serve: Serve) -> None:
    """Nor looked for."""
    plane = await serve()
    async with connected(plane.port) as client:
        await client.ask(request(headers=HEADERS))
    [one] = await plane.emitter.of_role("production")
    assert one.headers is None


TENANTS: dict[str, tuple[object, str | None]] = {
    "one that is allowed": ({"customer": {"tenant": "acme"}}, "acme"),
    "another": ({"customer": {"tenant": "umbrella"}}, "_other"),
    "nothing": ({"customer": {"tenant": ""}}, None),
    "null": ({"customer": {"tenant": None}}, None),
    "a number": ({"customer": {"tenant": 7}}, None),
    "another shape": ({"customer": "acme"}, None),
    "no customer": ({}, None),
    "a list": (["acme"], None),
}


@pytest.mark.parametrize("case", TENANTS)
def test_a_body_names_its_tenant_at_the_configured_place(case: str) -> None:
    """Only one that is allowed has a name; what is no text names nobody."""
    document, expected = TENANTS[case]
    tenant = BodyTenant(Tenant(allow=("acme",), body="customer.tenant"))
    assert tenant(captured(json.dumps(document).encode())) == expected


def test_a_body_that_cannot_be_read_names_nobody() -> None:
    """No JSON, a content coding, or only its beginning."""
    tenant = BodyTenant(Tenant(allow=("acme",), body="tenant"))
    body = b'{"tenant": "acme"}'
    assert tenant(captured(b"{")) is None
    assert tenant(captured(body, encoded=True)) is None
    assert tenant(captured(body, request_truncated=True)) is None
    assert tenant(captured(body)) == "acme"
