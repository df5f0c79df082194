"""A real Kafka as companies run it: listeners that require TLS, a client's certificate, or a login."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.support.kafka import Kafka, free_ports

USER, PASSWORD = "alice", "open sesame"

_PROTOCOLS = {"TLS": "SSL", "MTLS": "SSL", "LOGIN": "SASL_PLAINTEXT", "SECURE": "SASL_SSL"}
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
_PLAIN = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'


class SecureKafka:
    """The broker, and what a client needs in files; `section` gives the configuration's `kafka` for one listener."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._ports = dict(zip(_PROTOCOLS, free_ports(len(_PROTOCOLS)), strict=True))
        authority, other = trustme.CA(), trustme.CA()
        self.ca = _written(folder / "ca.pem", authority.cert_pem.bytes())
        self.other_ca = _written(folder / "other-ca.pem", other.cert_pem.bytes())
        self._keystore = _identity(folder / "broker.pem", authority.issue_cert("127.0.0.1", "localhost"))
        self.certificate = _identity(folder / "client.pem", authority.issue_cert("client.test"))
        self.password_file = _written(folder / "password", PASSWORD.encode())
        self.wrong_password_file = _written(folder / "wrong-password", b"open barley")
        scram = [
            argument
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for argument in ("--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]")
        ]
        self.kafka = Kafka(folder / "broker", self._settings, scram)

    def section(self, listener: str, **more: Any) -> dict[str, Any]:
        """The configuration's `kafka` for this listener."""
        return {"bootstrap_servers": f"127.0.0.1:{self._ports[listener]}", **more}

    def _settings(self, plain: Mapping[str, str]) -> dict[str, str]:
        """The listeners beside the plain one, over which the tests look in."""
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in self._ports.items())
        protocols = ",".join(f"{name}:{protocol}" for name, protocol in _PROTOCOLS.items())
        settings = {
            "listeners": f"{plain['listeners']},{listeners}",
            "advertised.listeners": f"{plain['advertised.listeners']},{listeners}",
            "listener.security.protocol.map": f"{plain['listener.security.protocol.map']},{protocols}",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._keystore),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.ca),
            "listener.name.mtls.ssl.client.auth": "required",
        }
        for listener in ("login", "secure"):
            settings[f"listener.name.{listener}.plain.sasl.jaas.config"] = _PLAIN
            for mechanism in ("scram-sha-256", "scram-sha-512"):
                settings[f"listener.name.{listener}.{mechanism}.sasl.jaas.config"] = _SCRAM
        return settings


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _identity(path: Path, certificate: trustme.LeafCert) -> Path:
    """Key (PKCS 8, which is what Java reads) and certificate in one file."""
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return _written(path, pkcs8 + b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
