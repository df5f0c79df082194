"""Every file that is named, but references, read once, so that what is missing is told before the start."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from configuration.certificates import client_context, reason
from configuration.credentials import credentials_of
from configuration.rollback import Rollback
from configuration.sections import Configuration
from configuration.target import Fallback
from lifecycle.refusal import Refusal

MAX_BODY_BYTES: Final = 1024 * 1024


def check_files(configuration: Configuration) -> None:
    """Those of the proxy. Raises `Refusal` for the first one that cannot be used."""
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


def check_rollback_files(settings: Rollback) -> None:
    """Those of the rollback, which no other part has to have; what has to stand in them is told when it starts.

    Raises `Refusal` likewise.
    """
    sections = (
        ("", settings),
        ("webhook.", settings.webhook),
        ("grafana.", settings.grafana),
        ("slack.", settings.slack),
    )
    for prefix, section in sections:
        for field in () if section is None else section.__struct_fields__:
            file = getattr(section, field)
            if field.endswith("_file") and file is not None:
                try:
                    Path(file).read_bytes()
                except OSError as error:
                    raise Refusal(f"rollback.{prefix}{field}: {file} cannot be read: {reason(error)}") from None


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
