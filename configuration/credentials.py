"""The shadow's own credentials, out of the file that holds them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from configuration.certificates import reason
from configuration.model import Credentials
from configuration.sections import Configuration
from lifecycle.refusal import Refusal

MAX_BYTES: Final = 16 * 1024
_VALUE: Final = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


def credentials_of(configuration: Configuration) -> dict[str, tuple[bytes, bytes]]:
    """By model, the header that every clone of it carries. Raises `Refusal`, which never shows the value."""
    return {
        model.name: _header(model.mirror.credentials, index)
        for index, model in enumerate(configuration.models)
        if model.mirror.credentials is not None
    }


def _header(credentials: Credentials, index: int) -> tuple[bytes, bytes]:
    where = f"models[{index}].mirror.credentials.value_file: {credentials.value_file}"
    try:
        with Path(credentials.value_file).open("rb") as file:
            value = file.read(MAX_BYTES + 1).strip()
    except OSError as error:
        raise Refusal(f"{where} cannot be read: {reason(error)}") from None
    if not value:
        raise Refusal(f"{where} is empty; write the header's value into it, such as Bearer and a token")
    if len(value) > MAX_BYTES or not _VALUE.fullmatch(value):
        raise Refusal(f"{where} must hold one line of at most {MAX_BYTES} bytes of printable ASCII")
    return credentials.header.encode(), value
