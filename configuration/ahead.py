"""What a valid configuration's author should hear: settings without effect in this version, and likely slips."""

from __future__ import annotations

from collections.abc import Iterator

from configuration.sections import Configuration


def without_effect(configuration: Configuration) -> list[str]:
    """One line for each setting that differs from its default and that nothing reads yet."""
    return [f"{path} has no effect in this version" for path in _paths(configuration)]


def slips(configuration: Configuration) -> list[str]:
    """One line for each thing that is allowed and probably not meant."""
    lines = []
    listening: dict[str, str] = {}
    parts = (("proxy.listen", configuration.proxy.listen), ("proxy.admin", configuration.proxy.admin))
    others = (("exporter.listen", configuration.exporter.listen), ("rollback.listen", configuration.rollback.listen))
    for setting, address in (*parts, *others):
        port = address.rpartition(":")[2]
        if port != "0" and port in listening:
            lines.append(f"{setting} has port {port}, as {listening[port]} has; one machine needs different ones")
        listening.setdefault(port, setting)
    for index, model in enumerate(configuration.models):
        if model.shadow == model.production:
            lines.append(f"models[{index}].shadow is the version that serves, so nothing will be cloned")
        if model.stable == model.production:
            lines.append(f"models[{index}].stable is the version that serves, so a rollback has nowhere to go")
    return lines


def _paths(configuration: Configuration) -> Iterator[str]:
    defaults = type(configuration.proxy)()
    if configuration.proxy.parse != defaults.parse:
        yield "proxy.parse"
