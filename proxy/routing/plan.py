"""One model as a worker serves it: the configuration's rules, worked out once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from configuration import Configuration, Inference, Model
from proxy.http.headers import RefusedError
from proxy.http.pool import Pool
from proxy.http.request import RequestHead
from proxy.layout import DROP_REASONS, FAIL_REASONS, FallbackReason, Layout
from proxy.routing.fallback import Fallback
from proxy.routing.gate import Gate
from proxy.routing.serving import Serving, Shares, VersionPlaces
from proxy.sampling import Sampler, threshold

_REMEMBERED_PATHS: Final = 4096
_LONGEST_PATH: Final = 256

UNSENT_BYTES: Final = 64 * 1024
"""How much of a body may wait for a connection before the client is paused, where nothing reads it."""

REPLAY_BYTES: Final = 64 * 1024
"""How much of a body is kept to send it again on a fresh connection."""

OTHER_TENANT: Final = "_other"


class MirrorPlaces:
    """Where one model's clones are counted."""

    def __init__(self, layout: Layout, model: str) -> None:
        self.sampled = layout.place("mirror_sampled_total", model)
        self.sent = layout.place("mirror_sent_total", model)
        self.completed = layout.place("mirror_completed_total", model)
        self.log_only = layout.place("mirror_log_only_total", model)
        self.waiting = layout.place("mirror_waiting", model)
        self.in_flight = layout.place("mirror_in_flight", model)
        self.dropped = {reason: layout.place("mirror_dropped_total", model, reason) for reason in DROP_REASONS}
        self.failed = {reason: layout.place("mirror_failed_total", model, reason) for reason in FAIL_REASONS}


class Plan:
    """Where a model's requests go, which of them are inferences, and which of those are chosen."""

    def __init__(
        self, model: Model, layout: Layout, loop: asyncio.AbstractEventLoop, router: Sampler, parsed_bytes: int = 0
    ) -> None:
        """`parsed_bytes`: up to which size a body is read where requests have to fit a schema."""
        self.model = model
        self.name = model.name
        self.prefix = model.path_prefix.rstrip("/").encode() + b"/"
        self.shadow_version = model.shadow
        # Nobody waits for a shadow's connection longer than for its answer, or they would pile up.
        self.shadow = Pool(model.targets[model.shadow], loop, float(model.mirror.timeout)) if model.shadow else None
        self.shadow_places = VersionPlaces.of(layout, model.name, model.shadow, "shadow") if model.shadow else None
        self.mirror_places = MirrorPlaces(layout, model.name)
        self.retries = layout.place("proxy_upstream_retries_total", model.name)
        self.fraction = model.mirror.fraction if model.shadow else 0.0
        self.mirror_threshold = threshold(model.mirror.fraction) if model.shadow else 0
        self.capture_threshold = threshold(model.capture.fraction)
        self.captured_bytes = int(model.capture.max_bytes)
        self.kept_captured = max(REPLAY_BYTES, self.captured_bytes)
        """How much of a body is kept for the event, and to send it again."""
        self.kept_waiting = max(self.kept_captured, int(model.mirror.max_body_bytes))
        """... and for the clone."""
        self.is_inference = InferenceRule(model.inference)
        """Whether a request is sampled, captured and counted, or only forwarded."""
        self._tenant_header = model.tenant.header.lower().encode() if model.tenant else None
        self.has_tenants = model.tenant is not None
        self._tenants = {name.encode(): name for name in model.tenant.allow} if model.tenant else {}
        self._recorded = {name.lower().encode(): name.lower() for name in model.privacy.headers}
        self.records_headers = bool(self._recorded)
        self._router = router
        self._versions = {version: Serving(model, version, layout, loop) for version in model.targets}
        self._only: Serving | None = None
        self._shares: Shares
        self.fallback = Fallback(model, self._versions, layout) if model.fallback is not None else None
        self.gate: Gate | None = None
        if model.schema is not None and model.schema.mode == "reject":
            self.gate = Gate(model.name, model.schema, parsed_bytes, layout)
        self.unsent_bytes = UNSENT_BYTES if self.gate is None else max(UNSENT_BYTES, self.gate.max_bytes)
        """How much of a body may wait for a connection before the client is paused."""
        self.paused = False
        self.guarded = False
        """Whether an inference has to ask `obstacle` before it goes to its version."""
        self.serve({model.production: 1.0})

    def serve(self, weights: Mapping[str, float], *, paused: bool = False) -> None:
        """Share the requests out like this from now on; those under way stay where they are."""
        self.paused = paused
        self.guarded = paused or self.fallback is not None or self.gate is not None
        in_order = {version: weights[version] for version in self.model.targets if version in weights}
        self._shares = Shares(in_order)
        self._only = self._versions[self._shares.only] if self._shares.only is not None else None

    def route(self, request_id: bytes) -> Serving:
        """The version that answers this request: the same one on every replica and retry."""
        if self._only is not None:
            return self._only
        return self._versions[self._shares.version(self._router.position(request_id))]

    def obstacle(self, serving: Serving, now: float) -> FallbackReason | None:
        """Why an inference should not be tried at its version now; None where it should."""
        if self.paused:
            return "paused"
        return None if serving.allows(now) else "breaker_open"

    def close_idle(self, now: float) -> None:
        """Close the connections that have been idle for too long."""
        for pool in self._pools():
            pool.close_idle(now)

    def close(self) -> None:
        """Close every connection."""
        for pool in self._pools():
            pool.close()

    def _pools(self) -> Iterator[Pool]:
        for serving in self._versions.values():
            yield serving.pool
        if self.shadow is not None:
            yield self.shadow

    def chosen(self, head: RequestHead, position: int) -> bool:
        """Whether a request at this `position` (see `sampling`) is to be cloned."""
        if self.shadow is None:
            return False
        if self.model.mirror.trust_header:
            if head.clone_mark or head.x_shadow == b"false":
                return False
            if head.x_shadow == b"true":
                return True
        return position < self.mirror_threshold

    def names_tenants(self, name: bytes) -> bool:
        """Whether a header of this name says whose a request is."""
        return self._tenant_header is not None and name.lower() == self._tenant_header

    def recorded(self, head: RequestHead) -> dict[str, str]:
        """The headers of a request that its event carries, hidden later; of several of one name, all."""
        found: dict[str, str] = {}
        for name, value in head.headers:
            label = self._recorded.get(name.lower())
            if label is not None:
                text = value.decode("utf-8", "replace")
                found[label] = f"{found[label]}, {text}" if label in found else text
        return found

    def tenant(self, head: RequestHead) -> str | None:
        """Whose request it is: an allowed name, `_other` for any other, None without one."""
        if self._tenant_header is None:
            return None
        for name, value in head.headers:
            if name.lower() == self._tenant_header:
                return self._tenants.get(value.strip(), OTHER_TENANT)
        return None


class InferenceRule:
    """The `inference` section as a test of method and path."""

    def __init__(self, section: Inference) -> None:
        self._methods = {method.encode() for method in section.methods}
        self._pattern = re.compile(b"|".join(_pattern(path) for path in section.paths))
        self._remembered: dict[bytes, bool] = {}

    def __call__(self, method: bytes, path: bytes) -> bool:
        """Whether this request is an inference."""
        if method not in self._methods:
            return False
        known = self._remembered.get(path)
        if known is None:
            known = self._pattern.fullmatch(path) is not None
            if len(path) <= _LONGEST_PATH and len(self._remembered) < _REMEMBERED_PATHS:  # a client can make up any
                self._remembered[path] = known
        return known


def _pattern(path: str) -> bytes:
    """A glob as a regular expression: `*` is one segment, `**` any number of them."""
    parts = re.split(r"(\*\*|\*)", path)
    words = {"**": rb".*", "*": rb"[^/]+"}
    return b"(?:%s)" % b"".join(words.get(part) or re.escape(part).encode() for part in parts)


class Plans:
    """Every model's plan; a request belongs to the one with the longest prefix of its path."""

    def __init__(
        self, configuration: Configuration, layout: Layout, loop: asyncio.AbstractEventLoop, router: Sampler
    ) -> None:
        """`router` gives a request its position among the versions that share a model's requests."""
        parsed_bytes = int(configuration.proxy.parse.max_bytes)
        plans = [Plan(model, layout, loop, router, parsed_bytes) for model in configuration.models]
        self.all = sorted(plans, key=lambda plan: len(plan.prefix), reverse=True)

    def apply(self, active: Mapping[str, Mapping[str, Any]]) -> None:
        """Serve as the supervisor says, by model: `{"weights": {version: share}, "mode": "serve" or "paused"}`."""
        for plan in self.all:
            order = active.get(plan.name)
            if order is not None:
                plan.serve(order["weights"], paused=order["mode"] == "paused")

    def of(self, path: bytes) -> Plan:
        """The plan for a path. Raises `RefusedError` (404)."""
        for plan in self.all:
            if path.startswith(plan.prefix) or path == plan.prefix[:-1]:
                return plan
        if path == b"*" and self.all and self.all[-1].prefix == b"/":
            return self.all[-1]
        raise RefusedError(404, "no_model", "no model is served at this path")
