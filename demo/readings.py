"""What the parts tell on `/metrics`, read as an operator's Prometheus would, and held against the conservation laws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

ROLES: Final = ("production", "shadow")


@dataclass
class Reading:
    """The samples of one scrape."""

    samples: list[tuple[str, dict[str, str], float]] = field(default_factory=list)

    def select(self, name: str, **labels: str) -> Iterator[tuple[dict[str, str], float]]:
        """The samples of that name that carry these labels."""
        for found, has, value in self.samples:
            if found == name and all(has.get(label) == wanted for label, wanted in labels.items()):
                yield has, value

    def total(self, name: str, **labels: str) -> int:
        """The sum of those samples."""
        return round(sum(value for _, value in self.select(name, **labels)))

    def by_role(self, name: str) -> dict[str, float]:
        """One value for each model, production's and the shadow's."""
        return {labels["role"]: value for labels, value in self.select(name)}

    def by_column(self, name: str) -> dict[str, float]:
        """One value for each column, against the reference, for the whole model."""
        found = self.select(name, tenant="_all", against="reference")
        return {labels["feature"]: value for labels, value in found}

    def missing(self) -> dict[str, float]:
        """Each column's share of missing values in production's window, for the whole model."""
        found = self.select("drift_feature_missing_ratio", tenant="_all", role="production")
        return {labels["feature"]: value for labels, value in found}

    def psi(self) -> dict[str, float]:
        """Each column's PSI against the reference, for the whole model."""
        return self.by_column("drift_psi")


def parse(text: str) -> Reading:
    """A Prometheus exposition."""
    families = text_string_to_metric_families(text)
    return Reading([(sample.name, sample.labels, sample.value) for family in families for sample in family.samples])


async def scrape(session: aiohttp.ClientSession, base_url: str) -> Reading:
    """Read one part's metrics. Raises aiohttp.ClientError and TimeoutError."""
    async with session.get(f"{base_url}/metrics") as response:
        return parse(await response.text())


def broken_laws(proxy: Reading) -> list[str]:
    """One line for each conservation law that the proxy's numbers, read in one instant, do not obey."""
    total = proxy.total
    laws: list[tuple[str, int, int]] = [
        (
            "sampled = sent + dropped + log_only + waiting",
            total("mirror_sampled_total"),
            total("mirror_sent_total")
            + total("mirror_dropped_total")
            + total("mirror_log_only_total")
            + total("mirror_waiting"),
        ),
        (
            "sent = completed + failed + in flight",
            total("mirror_sent_total"),
            total("mirror_completed_total") + total("mirror_failed_total") + total("mirror_in_flight"),
        ),
    ]
    for role in ROLES:
        left = total("events_captured_total", role=role)
        right = sum(
            total(name, role=role) for name in ("events_delivered_total", "events_lost_total", "events_waiting")
        )
        laws.append((f"captured = delivered + lost + waiting ({role})", left, right))
    return [f"{law}: {left} is not {right}" for law, left, right in laws if left != right]


def broken_law_at_rest(proxy: Reading, exporter: Reading) -> list[str]:
    """The law between the parts, which holds once nothing is on its way: delivered = everything consumed."""
    delivered = proxy.total("events_delivered_total")
    consumed = sum(exporter.total(f"drift_events_{kind}total") for kind in ("", "rejected_", "duplicate_", "foreign_"))
    consumed -= sum(exporter.total(f"drift_events_{kind}total", role="labels") for kind in ("", "duplicate_"))
    if delivered == consumed:
        return []
    return [f"delivered = events + rejected + duplicate + foreign: {delivered} is not {consumed}"]


def unmeasured(proxy: Reading, exporter: Reading) -> int:
    """Answers captured by the proxy that have not been measured by the exporter, of both roles."""
    return proxy.total("events_captured_total") - sum(exporter.total("drift_events_total", role=role) for role in ROLES)
