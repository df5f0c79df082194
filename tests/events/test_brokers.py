"""What keeps us from a broker, in a person's words."""

from __future__ import annotations

import pytest
from aiokafka import errors

from events.brokers import in_words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.TopicAuthorizationFailedError(), "topic authorization failed: give this login the right to it"),
        (errors.UnknownTopicOrPartitionError(), "unknown topic or partition"),
        (errors.RequestTimedOutError(), "no answer in time"),
        (errors.KafkaTimeoutError("Unable to update metadata"), "no answer in time"),
        (TimeoutError(), "no answer in time"),
        (errors.KafkaConnectionError("Connection at host:1 closed"), "the connection broke"),
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)"), "connection refused"),
        (OSError("Multiple exceptions: …"), "the connection broke"),
    ],
)
def test_an_error_of_kafkas_is_told_without_its_number_and_its_class(error: Exception, words: str) -> None:
    """Whoever reads it runs a command, and knows neither aiokafka nor errno."""
    assert in_words(error) == words  # type: ignore[arg-type]
