"""What answers when production cannot, or when a person has paused the model: another version, or a fixed answer."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from configuration import Model
from configuration.files import fixed_body
from proxy.http.answer import AnswerHead
from proxy.layout import FALLBACK_REASONS, FallbackReason, Layout
from proxy.routing.serving import Serving


@dataclass(frozen=True, slots=True)
class FixedAnswer:
    """The same answer to every request."""

    head: AnswerHead
    body: bytes


class Fallback:
    """One model's fallback, and where its use is counted."""

    __slots__ = ("answer", "places", "serving")

    def __init__(self, model: Model, versions: dict[str, Serving], layout: Layout) -> None:
        """Of a model that has one. Raises `Refusal` where its body's file has gone since the start was checked."""
        section = model.fallback
        assert section is not None
        self.places: dict[FallbackReason, int] = {
            reason: layout.place("proxy_fallback_total", model.name, reason) for reason in FALLBACK_REASONS
        }
        self.serving: Serving | None = None
        self.answer: FixedAnswer | None = None
        if section.target is not None:
            self.serving = versions[section.target]
        else:
            body = fixed_body(section, f"{model.name}.fallback")
            phrase = HTTPStatus(section.status).phrase if section.status in set(HTTPStatus) else ""
            headers = [(b"Content-Type", section.content_type.encode())]
            self.answer = FixedAnswer(AnswerHead(section.status, phrase.encode(), headers, len(body)), body)

    def helps(self, serving: Serving) -> bool:
        """Whether it is anything else than the version that cannot answer."""
        return self.serving is not serving
