"""The `kafka` section to what a client is made with: what stands in files is read here."""

from __future__ import annotations

from pathlib import Path

from configuration.certificates import client_context, reason
from configuration.sections import Configuration, Kafka, Sasl
from events.brokers import Brokers, Login
from lifecycle.refusal import Refusal


def brokers_of(configuration: Configuration) -> Brokers:
    """How this configuration's Kafka is reached. Raises `Refusal` for a file that cannot be used."""
    kafka = configuration.kafka
    if not isinstance(kafka, Kafka):
        raise Refusal("kafka: embedded is for `shadowdrift up` and `demo`; name kafka.bootstrap_servers here")
    tls = None if kafka.tls is None else client_context(kafka.tls, "kafka.tls")
    return Brokers(kafka.bootstrap_servers, tls, None if kafka.sasl is None else _login(kafka.sasl))


def _login(sasl: Sasl) -> Login:
    try:
        password = Path(sasl.password_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"kafka.sasl.password_file: {sasl.password_file} cannot be read: {reason(error)}") from None
    if not password:
        raise Refusal(f"kafka.sasl.password_file: {sasl.password_file} is empty; write the password into it")
    return Login(sasl.mechanism, sasl.username, password)
