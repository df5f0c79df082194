"""How a client of ours reaches the brokers: their addresses, TLS, a login; and in words why it cannot."""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import dataclass
from typing import Any, Final, Literal

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    RequestTimedOutError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from events.obstacles import Obstacle

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

_ASK_MS: Final = 5_000
_LOGIN_REFUSED: Final = (AuthenticationFailedError, SaslAuthenticationFailed)


def in_words(error: KafkaError | OSError) -> str:
    """What Kafka or the network said, without numbers and names of classes: `topic authorization failed`."""
    if isinstance(error, KafkaTimeoutError | RequestTimedOutError | TimeoutError):
        return "no answer in time"
    if isinstance(error, KafkaConnectionError):
        return "the connection broke"
    if isinstance(error, OSError):
        return os.strerror(error.errno).lower() if error.errno and error.errno > 0 else "the connection broke"
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__.removesuffix("Error")).lower()
    return f"{words}: give this login the right to it" if words.endswith("authorization failed") else words


@dataclass(frozen=True)
class Login:
    """SASL: who we are. The password is in no text that this module makes."""

    mechanism: Mechanism
    username: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.mechanism}, {self.username!r})"


@dataclass(frozen=True)
class Brokers:
    """Where Kafka is. `tls` is the context to verify the brokers with (and to show a certificate), None for none."""

    bootstrap_servers: str
    tls: ssl.SSLContext | None = None
    login: Login | None = None

    def __str__(self) -> str:
        return self.bootstrap_servers

    def arguments(self) -> dict[str, Any]:
        """What aiokafka's clients are made with."""
        return {"bootstrap_servers": self.bootstrap_servers, **self._security()}

    def _security(self) -> dict[str, Any]:
        protocol = ("SASL_" if self.login else "") + ("SSL" if self.tls else "PLAINTEXT")
        security: dict[str, Any] = {"security_protocol": protocol, "ssl_context": self.tls}
        if self.login is not None:
            security |= {
                "sasl_mechanism": self.login.mechanism,
                "sasl_plain_username": self.login.username,
                "sasl_plain_password": self.login.password,
            }
        return security

    async def obstacle(self) -> tuple[Obstacle, str]:
        """Why no broker takes us, as a word for a counter and a line for people.

        aiokafka says "Unable to bootstrap" for everything, a wrong password included; so we ask once more.
        """
        word: Obstacle = "unreachable"
        line = f"no broker answers at {self.bootstrap_servers}; see kafka.bootstrap_servers"
        for host, port, _ in collect_hosts(self.bootstrap_servers):
            try:
                connection = await create_conn(host, port, request_timeout_ms=_ASK_MS, **self._security())
            except (KafkaError, OSError, UnicodeError) as error:  # UnicodeError: a host such as `kafka..svc`
                word, line = self._told(f"{host}:{port}", error)
                if word != "unreachable":
                    break
            else:
                connection.close()
                return "topics", f"{host}:{port} takes the connection and does not tell its topics"
        return word, line

    def _told(self, address: str, error: Exception) -> tuple[Obstacle, str]:
        if isinstance(error, _LOGIN_REFUSED) and self.login is not None:
            return "login", (
                f"{address} refuses the login of {self.login.username!r} with {self.login.mechanism}; "
                "see kafka.sasl: username, password_file, mechanism"
            )
        if isinstance(error, UnsupportedSaslMechanismError) and self.login is not None:
            return "login", f"{address} does not take {self.login.mechanism}; see kafka.sasl.mechanism"
        cause = error.__cause__ or error.__context__ or error
        if isinstance(error, ssl.SSLError) or isinstance(cause, ssl.SSLError):
            text = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(cause)
            return "tls", f"{address}: the TLS handshake failed ({text}); see kafka.tls"
        return "unreachable", f"no broker answers at {address}; see kafka.bootstrap_servers"
