"""Asking back: the evidence from the exporter, latency and errors from Prometheus, or from the proxies themselves."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from configuration import Configuration
from configuration.units import parse_address
from evidence import document
from evidence.document import Evidence
from rollback.away import why
from rollback.facts import Facts, RoleVersion, Traffic
from rollback.looks import Look, Looks, counts_of
from rollback.secret_file import token_of
from rollback.tally import tallied

WITHIN_SECONDS: Final = 5.0
MAX_BYTES: Final = 64 * 1024 * 1024


class AwayError(Exception):
    """Somebody cannot be asked; one line."""


_Told: TypeAlias = tuple[Mapping[RoleVersion, Traffic] | None, frozenset[str] | None, str]
"""Of one model: its traffic, which alerts of it fire, and why either is not known."""


class Asking:
    """All sources, through one session."""

    def __init__(self, configuration: Configuration, session: aiohttp.ClientSession) -> None:
        """Raises `Refusal` for a token file that cannot be used."""
        self._settings = configuration.rollback
        self._session = session
        own = f"http://{parse_address(configuration.exporter.listen).reachable}"
        self._exporters = self._settings.exporters or (own,)
        self._exporter_token = token_of("exporter.token_file", configuration.exporter.token_file)
        self._prometheus_token = token_of("rollback.prometheus_token_file", self._settings.prometheus_token_file)
        self._proxies = proxies_of(configuration)
        self._proxy_token = token_of("proxy.token_file", configuration.proxy.token_file)
        self._looks = Looks(self._settings.evidence.over)

    async def run(self) -> None:
        """Look at the proxies' counters until cancelled, where no Prometheus does."""
        while self._settings.prometheus is None:
            await asyncio.gather(*(self._look(proxy) for proxy in self._proxies))
            await asyncio.sleep(self._looks.every)

    async def _look(self, proxy: str) -> None:
        """One that cannot be asked leaves a gap."""
        with contextlib.suppress(AwayError, ValueError):
            text = (await self._get(f"{proxy.rstrip('/')}/metrics", self._proxy_token)).decode()
            self._looks.note(proxy, Look(time.monotonic(), counts_of(text)))

    async def facts(self, model: str, now: float) -> Facts:
        """Everything about one model, asked at once; what cannot be had is None, with the reason."""
        (evidence, evidence_why), (traffic, firing, traffic_why) = await asyncio.gather(
            self._evidence(model), self._traffic(model)
        )
        return Facts(evidence, evidence_why, traffic, traffic_why, firing, now)

    async def _evidence(self, model: str) -> tuple[Evidence | None, str]:
        """Of several exporters one measures the model: the freshest document counts."""
        paths = [f"{base.rstrip('/')}/evidence/{quote(model, safe='')}" for base in self._exporters]
        answers = await asyncio.gather(*(self._document(path, model) for path in paths))
        found = [answer for answer in answers if isinstance(answer, Evidence)]
        if found:
            return max(found, key=lambda one: one.generated_at), ""
        return None, "; ".join(str(answer) for answer in answers)

    async def _document(self, path: str, model: str) -> Evidence | str:
        try:
            found = document.decode(await self._get(path, self._exporter_token))
        except (AwayError, ValueError) as error:
            return f"{path}: {error}"
        return found if found.model == model else f"{path}: the evidence is of another model"

    async def _traffic(self, model: str) -> _Told:
        if self._settings.prometheus is not None:
            return await self._prometheus(model, self._settings.prometheus)
        traffic = self._looks.traffic(model, time.monotonic())
        if traffic is None:
            return None, None, f"{', '.join(self._proxies) or 'no proxy'}: not looked at twice as yet"
        return traffic, None, "there is no Prometheus (rollback.prometheus: null), so nobody knows what fires"

    async def _prometheus(self, model: str, base: str) -> _Told:
        over = f"{max(1, round(self._settings.evidence.over))}s"
        of_model = f'model="{escaped(model)}"'
        try:
            requests, latency, alerts = await asyncio.gather(
                self._query(
                    base,
                    "sum by (role, version, status, outcome) "
                    f"(increase(inference_requests_total{{{of_model}}}[{over}]))",
                ),
                self._query(
                    base,
                    "histogram_quantile(0.95, sum by (le, role, version) "
                    f"(rate(inference_latency_seconds_bucket{{{of_model}}}[{over}])))",
                ),
                self._query(base, f'ALERTS{{alertstate="firing", {of_model}}}'),
            )
            firing = frozenset(sample["metric"].get("alertname", "") for sample in alerts)
            return traffic_of(requests, latency), firing, ""
        except AwayError as error:
            return None, None, f"{base}: {error}"
        except (KeyError, TypeError, ValueError, LookupError) as error:
            return None, None, f"{base}: its answer cannot be read: {error!r}"

    async def _query(self, base: str, expression: str) -> list[dict[str, Any]]:
        url = f"{base.rstrip('/')}/api/v1/query?query={quote(expression, safe='')}"
        answer = msgspec.json.decode(await self._get(url, self._prometheus_token))
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    async def _get(self, url: str, token: str | None) -> bytes:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        where, timeout = URL(url, encoded=True), aiohttp.ClientTimeout(total=WITHIN_SECONDS)
        try:
            async with self._session.get(where, headers=headers, timeout=timeout, allow_redirects=False) as answer:
                body = bytearray()
                async for piece in answer.content.iter_any():
                    body += piece
                    if len(body) > MAX_BYTES:
                        raise AwayError(f"it answered with more than {MAX_BYTES} bytes")
                if answer.status != 200:
                    raise AwayError(f"it answered {answer.status}")
                return bytes(body)
        except TimeoutError:
            raise AwayError(f"no answer in {WITHIN_SECONDS:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise AwayError(f"cannot be asked: {why(error)}") from None


def proxies_of(configuration: Configuration) -> tuple[str, ...]:
    """Admin addresses of the proxies that the rollback asks: those that are named, or the one that is configured."""
    admin = parse_address(configuration.proxy.admin)
    own = (f"http://{admin.reachable}",) if admin.port else ()
    return configuration.rollback.proxies or own


def traffic_of(requests: list[dict[str, Any]], latency: list[dict[str, Any]]) -> dict[RoleVersion, Traffic]:
    """The samples of both queries, by role and version."""
    return tallied(
        ((sample["metric"], float(sample["value"][1])) for sample in requests),
        {(one["metric"]["role"], one["metric"]["version"]): float(one["value"][1]) for one in latency},
    )


def escaped(value: str) -> str:
    """A label's value, so that inside the quotes of a query it is nothing but a value."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
