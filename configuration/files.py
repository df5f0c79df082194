"""Every file that a model names, but its reference, read once, so that what is missing is told before the start."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from configuration.certificates import client_context, reason
from configuration.credentials import credentials_of
from configuration.sections import Configuration
from configuration.target import Fallback
from lifecycle.refusal import Refusal

MAX_BODY_BYTES: Final = 1024 * 1024


def check_files(configuration: Configuration) -> None:
    """Raises `Refusal` for the first file that cannot be used."""
    credentials_of(configuration)
    for index, model in enumerate(configuration.models):
        for version, target in model.targets.items():
            path = f"models[{index}].targets.{version}"
            if target.tls is not None:
                client_context(target.tls, f"{path}.tls")
            if target.probe is not None:
                from configuration.probing import load_probe  # few have one, and jsonschema is large

                load_probe(target.probe, f"{path}.probe")
        if model.fallback is not None and model.fallback.body_file is not None:
            fixed_body(model.fallback, f"models[{index}].fallback")


def fixed_body(fallback: Fallback, path: str) -> bytes:
    """The body of a fixed answer. Raises `Refusal`; `path` is the section's."""
    assert fallback.body_file is not None
    try:
        with Path(fallback.body_file).open("rb") as file:
            body = file.read(MAX_BODY_BYTES + 1)
    except OSError as error:
        raise Refusal(f"{path}.body_file: {fallback.body_file} cannot be read: {reason(error)}") from None
    if len(body) > MAX_BODY_BYTES:
        raise Refusal(f"{path}.body_file: {fallback.body_file} must have at most {MAX_BODY_BYTES} bytes")
    return body
