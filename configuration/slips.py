"""What a valid configuration's author should hear: likely slips."""

from __future__ import annotations

from configuration.sections import Configuration


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
