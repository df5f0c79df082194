"""Where alerts arrive: each is decided, acted upon, written down and told."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from configuration import Model
from configuration.shown import cut
from rollback.decision import NOT_ASKED, UNKNOWN_MODEL, WORDS, Decision, asks, key_of, with_facts, without_asking
from rollback.facts import Facts
from rollback.journal import Last
from rollback.notices import Notice
from rollback.office import Office
from rollback.switch import SwitchFailedError
from rollback.webhook import Alert, Delivery

_log = logging.getLogger("shadowdrift.rollback")

ALERTMANAGER: Final = "alertmanager"
_SILENT: Final = {"not_asked", "resolved", "replayed"}
"""Reasons that nobody needs to be told of."""


class Desk:
    """Alerts of one model are decided one after the other, so that two of them never move traffic twice."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def deliver(self, delivery: Delivery) -> tuple[int, dict[str, Any]]:
        """The status and the body of the answer: 200 for what was decided, 503 where sending again helps."""
        facts: dict[str, Facts] = {}
        decided = [(alert, await self._decided(alert, facts)) for alert in delivery.alerts]
        lines = [self._line(delivery, alert, decision) for alert, decision in decided]
        status = 503 if any(decision.word == "failed" for _, decision in decided) else 200
        try:
            self._office.audit.write(lines)
        except OSError as error:
            return 503, {"decision": "failed", "reason": "audit", "text": f"the audit log: {error.strerror}"}
        for alert, decision in decided:
            self._office.metrics.decided(alert.model, decision.word, decision.reason)
            self._tell(alert, decision)
        weightiest = min((decision for _, decision in decided), key=lambda one: WORDS.index(one.word))
        answer = {"decision": weightiest.word, "reason": weightiest.reason, "text": weightiest.text}
        return status, {**answer, "decisions": [_short(line) for line in lines]}

    async def _decided(self, alert: Alert, facts: dict[str, Facts]) -> Decision:
        model = self._office.switch.models.get(alert.model)
        if model is None:
            return UNKNOWN_MODEL if asks(alert) else NOT_ASKED
        async with self._office.locks[model.name]:
            decision = self._first(alert, model)
            if decision is not None:
                return decision
            if model.name not in facts:
                facts[model.name] = await self._office.asking.facts(model.name, self._office.clock())
            # Whoever serves may have changed meanwhile: all of it once more, and from here on nothing is awaited.
            return self._first(alert, model) or await self._second(alert, model, facts[model.name])

    def _first(self, alert: Alert, model: Model) -> Decision | None:
        standing, memory = self._office.switch.standing(model.name), self._office.journal.of[model.name]
        return without_asking(alert, model, standing, memory, self._office.settings, self._office.clock())

    async def _second(self, alert: Alert, model: Model, facts: Facts) -> Decision:
        standing = self._office.switch.standing(model.name)
        decision = with_facts(alert, model, standing, facts, self._office.settings, self._office.clock())
        memory = self._office.journal.of[model.name]
        if decision.word == "dry_run":
            memory.remember(key_of(alert), memory.generation, dry_run=True)
        if decision.word != "taken":
            return decision
        assert model.stable is not None
        after = self._office.switch.entry(model, {model.stable: 1.0}, "serve", f"rollback: {alert.name}", ALERTMANAGER)
        try:
            away = await self._office.switch.to(after, model, standing, latches=True, key=key_of(alert))
        except SwitchFailedError as error:
            text = f"{decision.text}; but {error}"
            fields = {"model": model.name, "alert": cut(alert.name), "text": text}
            _log.error("an alert's rollback failed", extra={"fields": fields})
            return Decision("failed", "action", text, decision.findings)
        if away:
            text = f"{decision.text}; no proxy could be asked whether it serves ({away})"
            return Decision(decision.word, decision.reason, text, decision.findings)
        return decision

    def _line(self, delivery: Delivery, alert: Alert, decision: Decision) -> dict[str, Any]:
        memory = self._office.journal.of.get(alert.model)
        return {
            "what": "alert",
            "model": alert.model,
            "decision": decision.word,
            "reason": decision.reason,
            "text": decision.text,
            "by": ALERTMANAGER,
            "alert": alert.name,
            "fingerprint": alert.fingerprint,
            "starts_at": alert.starts_at.isoformat(),
            "receiver": delivery.receiver,
            "generation": None if memory is None else memory.generation,
            "findings": [finding.told() for finding in decision.findings],
        }

    def _tell(self, alert: Alert, decision: Decision) -> None:
        memory = self._office.journal.of.get(alert.model)
        if memory is None or decision.reason in _SILENT:
            return
        now = self._office.clock()
        at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        memory.last = Last(at, cut(alert.name), decision.word, decision.reason, decision.text)
        text = f"{alert.name}: {decision.text}"
        notice = Notice(alert.model, decision.word, decision.reason, text, ALERTMANAGER, now)
        # The same answer to the same alert, sent again and again, is told once.
        self._office.notices.tell(
            notice, once_for=(alert.model, alert.name, decision.word, decision.reason, memory.generation)
        )


def _short(line: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in {"what", "by", "receiver"}}
