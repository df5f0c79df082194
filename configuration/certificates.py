"""A `tls` section to what a client is made with: certificates and keys are read from their files here."""

from __future__ import annotations

import ssl

from configuration.target import Tls
from lifecycle.refusal import Refusal


def client_context(tls: Tls, path: str) -> ssl.SSLContext:
    """A context that always verifies the other side. Raises `Refusal` for a file that cannot be used.

    `path` is the section's.
    """
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Refusal(f"{path}.ca_file: {tls.ca_file} cannot be used: {reason(error)}; name a PEM file") from None
    if tls.certificate_file is not None:
        try:
            # A key with a passphrase would ask at the terminal: an empty one makes it an error.
            context.load_cert_chain(tls.certificate_file, tls.key_file, password="")
        except (OSError, ssl.SSLError) as error:
            raise Refusal(
                f"{path}.certificate_file: {tls.certificate_file} (key {tls.key_file or 'in the same file'}) "
                f"cannot be used: {reason(error)}; name PEM files that belong together"
            ) from None
    return context


def reason(error: Exception) -> str:
    """Why a file cannot be used, in the system's words."""
    return str(getattr(error, "strerror", None) or getattr(error, "reason", None) or error).lower()
