"""What is made of an alert: taken, refused, latched, stale, replayed, dry_run or inconclusive. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from configuration import Model, Rollback
from rollback.causes import Verdict, cause_of, confirm
from rollback.facts import Facts, Finding
from rollback.journal import Key, Memory
from rollback.standing import Standing
from rollback.webhook import Alert

Word = Literal["taken", "refused", "latched", "stale", "replayed", "dry_run", "inconclusive", "failed"]

WORDS: Final[tuple[Word, ...]] = (
    "failed", "taken", "dry_run", "inconclusive", "latched", "refused", "stale", "replayed"
)  # fmt: skip
"""The weightiest first: what an answer to several alerts says above all."""

SKEW_SECONDS: Final = 300.0
"""How far a start may lie ahead of this clock."""

_FOREIGN_ROLES: Final = {"shadow"}


@dataclass(frozen=True)
class Decision:
    """One alert's, with why in a word for the metric and in a sentence for people."""

    word: Word
    reason: str
    text: str
    findings: tuple[Finding, ...] = ()


def key_of(alert: Alert) -> Key:
    """By what a repeated delivery is known."""
    return alert.fingerprint, alert.starts_at.isoformat()


NOT_ASKED: Final = Decision("refused", "not_asked", "it does not ask for a rollback by a label action: rollback")
UNKNOWN_MODEL: Final = Decision("refused", "unknown_model", "the configuration has no such model")


def asks(alert: Alert) -> bool:
    """Whether it asks for a rollback."""
    return alert.labels.get("action") == "rollback"


def without_asking(
    alert: Alert, model: Model, standing: Standing, memory: Memory, settings: Rollback, now: float
) -> Decision | None:
    """What can be decided from the alert and from what is remembered; None where evidence is to be asked for."""
    if not asks(alert):
        return NOT_ASKED
    if alert.status == "resolved":
        return Decision("refused", "resolved", "an alert that is over moves nothing: `restore` is a person's decision")
    return (
        _stale(alert, settings, now)
        or _remembered(alert, memory, settings)
        or _impossible(alert, model, standing)
        or _held_back(memory, settings, now)
        or _there_already(model, standing)
    )


def _stale(alert: Alert, settings: Rollback, now: float) -> Decision | None:
    age = now - alert.started
    if age > settings.max_alert_age:
        return Decision(
            "stale", "too_old", f"the alert began {age:.0f} s ago; at most {settings.max_alert_age:g} s count"
        )
    if alert.ended is not None and alert.ended < now - SKEW_SECONDS:
        return Decision("stale", "ended", f"the alert ended {now - alert.ended:.0f} s ago")
    if age < -SKEW_SECONDS:
        return Decision("stale", "future", f"the alert begins {-age:.0f} s from now; look at the clocks")
    return None


def _remembered(alert: Alert, memory: Memory, settings: Rollback) -> Decision | None:
    if memory.remembers(key_of(alert), memory.generation, dry_run=settings.dry_run):
        return Decision("replayed", "replayed", f"this alert is decided already, in generation {memory.generation}")
    return None


def _impossible(alert: Alert, model: Model, standing: Standing) -> Decision | None:
    if standing.unreadable:
        return Decision("inconclusive", "active_file", standing.unreadable)
    if model.stable is None:
        return Decision("refused", "no_stable", "the configuration names no stable version to go to")
    if standing.entry.mode == "paused":
        return Decision("refused", "paused", "the model is paused")
    about = alert.labels.get("version")
    if alert.labels.get("role") in _FOREIGN_ROLES or (about is not None and about not in standing.entry.asked):
        return Decision("refused", "not_serving", f"the alert is about {about or 'the shadow'}, which does not serve")
    return None


def _held_back(memory: Memory, settings: Rollback, now: float) -> Decision | None:
    if not memory.armed:
        return Decision("refused", "disarmed", "the automatic part is switched off; `shadowdrift rollback arm`")
    if memory.latch is not None:
        return Decision(
            "latched", "latched", f"it has acted already ({memory.latch.reason}); `shadowdrift rollback arm` opens it"
        )
    since = None if memory.switched_at is None else now - memory.switched_at
    if since is not None and since < settings.cool_down:
        return Decision(
            "refused", "cool_down", f"traffic moved {since:.0f} s ago; the cool-down is {settings.cool_down:g} s"
        )
    return None


def _there_already(model: Model, standing: Standing) -> Decision | None:
    if standing.entry.asked == {model.stable}:
        return Decision("refused", "already_stable", f"{model.stable} serves already")
    return None


def with_facts(
    alert: Alert, model: Model, standing: Standing, facts: Facts, settings: Rollback, now: float
) -> Decision:
    """What is left to decide, by the evidence."""
    verdict: Verdict = confirm(alert, model, standing, facts, settings, now)
    if verdict.word != "go":
        return Decision(verdict.word, verdict.reason, verdict.text, verdict.findings)
    word: Word = "dry_run" if settings.dry_run else "taken"
    would = "would go" if settings.dry_run else "goes"
    text = f"{', '.join(sorted(standing.entry.asked))} {would} to {model.stable}: {verdict.text}"
    return Decision(word, cause_of(alert), text, verdict.findings)
