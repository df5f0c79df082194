"""The `kafka` section to what a client is made with: certificates and the password are read from their files here."""

from __future__ import annotations

import ssl
from pathlib import Path

from configuration.sections import Configuration, Kafka, Sasl, Tls
from events.brokers import Brokers, Login
from lifecycle.refusal import Refusal


def brokers_of(configuration: Configuration) -> Brokers:
    """How this configuration's Kafka is reached. Raises `Refusal` for a file that cannot be used."""
    kafka = configuration.kafka
    if not isinstance(kafka, Kafka):
        raise Refusal("kafka: embedded is for `shadowdrift up` and `demo`; name kafka.bootstrap_servers here")
    tls = None if kafka.tls is None else _context(kafka.tls)
    return Brokers(kafka.bootstrap_servers, tls, None if kafka.sasl is None else _login(kafka.sasl))


def _context(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Refusal(f"kafka.tls.ca_file: {tls.ca_file} cannot be used: {_reason(error)}; name a PEM file") from None
    if tls.certificate_file is not None:
        try:
            context.load_cert_chain(tls.certificate_file, tls.key_file)
        except (OSError, ssl.SSLError) as error:
            raise Refusal(
                f"kafka.tls.certificate_file: {tls.certificate_file} (key {tls.key_file or 'in the same file'}) "
                f"cannot be used: {_reason(error)}; name PEM files that belong together"
            ) from None
    return context


def _login(sasl: Sasl) -> Login:
    try:
        password = Path(sasl.password_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"kafka.sasl.password_file: {sasl.password_file} cannot be read: {_reason(error)}") from None
    if not password:
        raise Refusal(f"kafka.sasl.password_file: {sasl.password_file} is empty; write the password into it")
    return Login(sasl.mechanism, sasl.username, password)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or getattr(error, "reason", None) or error).lower()
