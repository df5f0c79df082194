"""What a valid configuration's author should hear: settings without effect in this version, and likely slips."""

from __future__ import annotations

from collections.abc import Iterator

from configuration.model import Model
from configuration.sections import Configuration


def without_effect(configuration: Configuration) -> list[str]:
    """One line for each setting that differs from its default and that nothing reads yet."""
    return [f"{path} has no effect in this version" for path in _paths(configuration)]


def slips(configuration: Configuration) -> list[str]:
    """One line for each thing that is allowed and probably not meant."""
    lines = []
    listening: dict[str, str] = {}
    parts = (("proxy.listen", configuration.proxy.listen), ("proxy.admin", configuration.proxy.admin))
    for setting, address in (*parts, ("exporter.listen", configuration.exporter.listen)):
        port = address.rpartition(":")[2]
        if port != "0" and port in listening:
            lines.append(f"{setting} has port {port}, as {listening[port]} has; one machine needs different ones")
        listening.setdefault(port, setting)
    for index, model in enumerate(configuration.models):
        if model.shadow == model.production:
            lines.append(f"models[{index}].shadow is the version that serves, so nothing will be cloned")
    return lines


def _paths(configuration: Configuration) -> Iterator[str]:
    if configuration.rollback != type(configuration.rollback)():
        yield "rollback"
    for index, model in enumerate(configuration.models):
        for setting in _model_settings(model):
            yield f"models[{index}].{setting}"


def _model_settings(model: Model) -> Iterator[str]:
    if model.stable is not None:
        yield "stable"
