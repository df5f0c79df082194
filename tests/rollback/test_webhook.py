"""What is a webhook of version 4, and what is not."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback.webhook import Alert, MalformedError, decode
from tests.rollback.making import alert, alert_document, delivery_document

NO_WEBHOOKS: dict[str, Any] = {
    "another version": delivery_document(version="3"),
    "a version that is a number": delivery_document(version=4),
    "an unknown status": delivery_document(status="maybe"),
    "no alerts": {**delivery_document(), "alerts": []},
    "alerts that are none": delivery_document(alerts=[1]),
    "no receiver": {key: value for key, value in delivery_document().items() if key != "receiver"},
    "an alert without a fingerprint": delivery_document(
        {key: value for key, value in alert_document().items() if key != "fingerprint"}
    ),
    "an empty fingerprint": delivery_document({**alert_document(), "fingerprint": ""}),
    "a label that is a number": delivery_document({**alert_document(), "labels": {"alertname": 1}}),
    "a start without a zone": delivery_document({**alert_document(), "startsAt": "2026-11-20T10:00:00"}),
    "a start that is a number": delivery_document({**alert_document(), "startsAt": 1790000000}),
    "a start beyond the calendar": delivery_document({**alert_document(), "startsAt": "10000-01-01T00:00:00Z"}),
    "a list": [],
    "null": None,
}


@pytest.mark.parametrize("case", NO_WEBHOOKS)
def test_what_is_no_webhook_is_refused_in_one_line(case: str) -> None:
    """Wrong versions, types and times."""
    with pytest.raises(MalformedError, match=r"^not a webhook of version 4: [^\n]+$"):
        decode(json.dumps(NO_WEBHOOKS[case]).encode())


def test_an_alert_is_read_with_its_nanoseconds() -> None:
    """As Alertmanager writes times; the year 1 is an end that nobody knows yet."""
    found = alert(startsAt="2026-11-20T10:00:00.123456789Z")
    assert isinstance(found, Alert)
    assert (found.name, found.model) == ("SevereFeatureDrift", "fraud")
    assert found.starts_at.isoformat().startswith("2026-11-20T10:00:00.12345")
    assert found.ended is None
    assert alert(endsAt="2026-11-20T10:00:01+01:00").ended == pytest.approx(1795165201.0)


def test_fields_that_a_later_alertmanager_adds_are_ignored() -> None:
    """The format only grows."""
    assert decode(json.dumps(delivery_document(news={"a": 1})).encode()).receiver == "rollback"


KEYS = st.sampled_from([*delivery_document()])
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.binary(max_size=200) | VALUES.map(msgspec.json.encode))
def test_no_bytes_raise_anything_but_that(body: bytes) -> None:
    """Whatever somebody posts; in one line."""
    line = ""
    try:
        decode(body)
    except MalformedError as error:
        line = str(error)
    assert len(line.splitlines()) <= 1
