"""`shadowdrift explain`: what would be extracted from an exchange, by which rule, and what would be hidden of it."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from configuration import Configuration, Model, load
from configuration.option import DEFAULT_FILE, parser
from configuration.shown import cut, one_line
from events.inference import Instance
from lifecycle.refusal import Refusal
from privacy.identifiers import suspicion
from privacy.keys import FILE_NAME, Keys, keys_of
from proxy.checked import BODY, FeatureSchema
from proxy.emitter.extract import Extracted, extract
from proxy.emitter.pseudonym import Pseudonymiser, Reason
from proxy.emitter.tenants import BodyTenant
from proxy.frames import Captured
from reference.profile import PREDICTION, Profile, load_for

_WHAT: Final[dict[Reason, str]] = {
    "dropped": "dropped: privacy.fields",
    "hashed": "hashed: privacy.fields",
    "bucketed": "bucketed: privacy.fields",
    "kept": "kept, without personal data: privacy.fields",
    "listed": "in clear: listed in the reference",
    "unlisted": "hashed: not listed in the reference",
    "plain": "in clear: no text",
}
_UNRULED: Final = frozenset({"plain", "listed", "unlisted", "kept"})
_MISSING: Final = {
    "truncated": "is longer than capture.max_bytes and is not read",
    "not_json": "is no JSON",
    "shape": "has none of the known formats, which docs/events.md lists",
    "prediction_count": "has another number of predictions than the request has instances",
    "no_prediction": "has a prediction that cannot be used",
}
_FORMATS: Final = {
    "an object": "$.{name}",
    "a list of objects": "$[{row}].{name}",
    "instances that are objects": "$.instances[{row}].{name}",
    "instances that are lists": "$.instances[{row}][{position}]",
}


class Explained(msgspec.Struct, omit_defaults=True):
    """One value of an instance: where it stands, what stands in the event for it, and why."""

    feature: str
    path: str
    value: Any
    why: str
    in_event: bool = True
    """False for what is dropped."""


class Explanation(msgspec.Struct, omit_defaults=True):
    """What becomes of one exchange; nothing in it that its event would not tell, but names and their warnings."""

    model: str
    key_id: str
    format: str | None
    tenant: str | None
    instances: list[list[Explained]]
    patterns: list[dict[str, dict[str, int]]]
    violations: list[str]
    problems: list[str]
    warnings: list[str]


def explained(
    model: Model, reference: Profile | None, keys: Keys, request: bytes, response: bytes | None
) -> Explanation:
    """Read an exchange as the emitter would."""
    limit = int(model.capture.max_bytes)
    captured = Captured(
        id="", request_id="", role="production", model=model.name, version=model.production, tenant=None, time=0.0,
        latency_seconds=None, status=None, outcome="ok", fraction=0.0, sampled=False,
        request_truncated=len(request) > limit, answer_truncated=response is not None and len(response) > limit,
        encoded=False, path="", request=request, answer=response,
    )  # fmt: skip
    names = reference.inputs if reference is not None else tuple(model.schema.fields) if model.schema else ()
    extracted = extract(captured, names)
    hiding = Pseudonymiser(keys, reference, model.privacy, model.text)
    tenant = BodyTenant(model.tenant)(captured) if model.tenant is not None and model.tenant.body is not None else None
    made = Explanation(
        model.name, hiding.key_id, extracted.format, tenant, [], [], list(_violations(model, extracted)),
        list(_problems(extracted)), list(_warnings(extracted, hiding)),
    )  # fmt: skip
    for row, instance in enumerate(extracted.instances):
        values = list(_values(row, instance, extracted, hiding))
        told = list(_told(instance, hiding))  # which finds the patterns too
        made.patterns.append(instance.patterns)
        made.instances.append([*values, *told])
    return made


def _problems(extracted: Extracted) -> Iterator[str]:
    if extracted.missing is not None:
        whose = "the response" if extracted.instances else "the request"
        yield f"{whose} {_MISSING.get(extracted.missing, extracted.missing)}"


def _violations(model: Model, extracted: Extracted) -> Iterator[str]:
    if model.schema is None:
        return
    schema = FeatureSchema(model.schema)
    if not extracted.instances and extracted.missing in {"not_json", "shape"}:
        yield f"the schema's rule {BODY[1]} is broken"
    for row, instance in enumerate(extracted.instances):
        for field, rule in schema.broken(instance.features, instance.invalid):
            yield f"instance {row}: the schema's rule {rule} of {field} is broken"


def _values(row: int, instance: Instance, extracted: Extracted, hiding: Pseudonymiser) -> Iterator[Explained]:
    where = _FORMATS[extracted.format] if extracted.format is not None else ""
    for position, (name, value) in enumerate(instance.features.items()):
        shown, reason = hiding.explained(name, value)
        told = hiding.name(name)
        why = _WHAT[reason]
        if name in instance.invalid:
            why = "null: no number that is finite, no text, no boolean"
        elif value is None or value == "":
            why = "missing" if reason != "dropped" else why
        if told != name:
            why += "; the name is hashed, it does not look like one"
        path = where.format(row=row, name=told, position=position)
        yield Explained(told, path, shown, why, reason != "dropped")
    prediction = instance.prediction
    if prediction is not msgspec.UNSET and prediction is not None:
        shown, reason = hiding.explained(PREDICTION, prediction)
        yield Explained(PREDICTION, "the response", shown, _WHAT[reason], reason != "dropped")


def _told(instance: Instance, hiding: Pseudonymiser) -> Iterator[Explained]:
    for name in list(instance.features):
        text = hiding.texts.get(name)
        if text is not None:
            for column, value in text.told(instance).items():
                yield Explained(column, f"{name} as a text", value, "told of the text, before it is hidden")


def _warnings(extracted: Extracted, hiding: Pseudonymiser) -> Iterator[str]:
    """One for each feature that looks like an identifier, and about which no rule says anything."""
    columns: dict[str, list[Any]] = {}
    for instance in extracted.instances:
        for name, value in instance.features.items():
            columns.setdefault(name, []).append(value)
    for name, values in columns.items():
        reasons = {hiding.explained(name, value)[1] for value in values}
        if not reasons <= _UNRULED or name in hiding.texts:
            continue
        if (why := suspicion(name, values)) is not None:
            leaves = "hashed, and so still tells the same person" if reasons == {"unlisted"} else "in clear"
            if reasons == {"kept"}:
                leaves = "in clear but for what the patterns find"
            shown = one_line(hiding.name(name))
            yield f"{shown} {why}; it leaves {leaves}: consider `privacy: {{fields: {{{shown}: drop}}}}`, or hash"


# The command.


def main(arguments: list[str]) -> int:
    """Explain one exchange. Raises `Refusal`."""
    options = parser("explain", "Show what would be extracted from an exchange, by which rule, and what is hidden.")
    options.add_argument("--request", type=Path, required=True, metavar="FILE", help="the body of a request")
    options.add_argument("--response", type=Path, metavar="FILE", help="the body of its answer")
    options.add_argument("--model", help="which model's, where the configuration has several")
    options.add_argument("--json", action="store_true", help="as JSON")
    given = options.parse_args(arguments)
    bare = not given.config.exists() and str(given.config) == DEFAULT_FILE
    notes = [f"there is no {DEFAULT_FILE} here: this is what happens without one"] if bare else []
    request, response = _read(given.request), None if given.response is None else _read(given.response)
    if bare:
        model, reference, keys = _bare(), None, None
    else:
        configuration = load(given.config)
        index, model = _chosen(configuration, given.model)
        reference, keys = load_for(model, index), _keys(configuration)
    if keys is None:
        notes.append("there is no key yet: hashes are made with one for this once")
    explanation = explained(model, reference, keys or Keys("none", secrets.token_hex(32)), request, response)
    explanation.warnings[:0] = notes
    text = msgspec.json.encode(explanation).decode() + "\n" if given.json else table(explanation)
    sys.stdout.write(text)
    return 0


def _bare() -> Model:
    from configuration import Target

    return Model(name="model", targets={"production": Target("http://127.0.0.1:1")}, production="production")


def _chosen(configuration: Configuration, name: str | None) -> tuple[int, Model]:
    names = [model.name for model in configuration.models]
    if name is None and len(names) == 1:
        return 0, configuration.models[0]
    if name not in names:
        raise Refusal(f"explain: --model must be one of {', '.join(names)}, got {'none' if name is None else name!r}")
    return names.index(name), configuration.models[names.index(name)]


def _keys(configuration: Configuration) -> Keys | None:
    """The proxy's keys, but none is made."""
    there = configuration.proxy.key_file is not None or (Path(configuration.state_dir) / FILE_NAME).exists()
    return keys_of(configuration) if there else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refusal(f"explain: {path} cannot be read: {(error.strerror or str(error)).lower()}") from None


_MOST_ROWS: Final = 20


def table(explanation: Explanation) -> str:
    """For people: the first 20 instances."""
    head = f"model {explanation.model}, key {explanation.key_id}"
    if explanation.format is not None:
        count = len(explanation.instances)
        head += f"; the request is {explanation.format}: {count} instance{'s' if count != 1 else ''}"
    if explanation.tenant is not None:
        head += f"; tenant {explanation.tenant}"
    lines = [head]
    for row, values in enumerate(explanation.instances[:_MOST_ROWS]):
        if len(explanation.instances) > 1:
            lines += ["", f"instance {row}"]
        cells = [(one_line(each.feature), one_line(each.path), _shown(each), each.why) for each in values]
        header = ("feature", "from", "in the event", "why")
        widths = [max(len(cell[column]) for cell in (header, *cells)) for column in range(3)]
        for cell in (header, *cells):
            padded = [text.ljust(width) for text, width in zip(cell, widths, strict=False)]
            lines.append("  ".join([*padded, cell[3]]).rstrip())
        for text, found in explanation.patterns[row].items():
            counts = ", ".join(f"{name} {times}" for name, times in found.items())
            lines.append(f"patterns in {one_line(text)}: {counts}")
    if len(explanation.instances) > _MOST_ROWS:
        lines.append(f"… and {len(explanation.instances) - _MOST_ROWS} instances more; --json shows all")
    lines += [f"problem: {text}" for text in explanation.problems]
    lines += [f"schema: {text}" for text in explanation.violations]
    lines += [f"warning: {text}" for text in explanation.warnings]
    return "\n".join(lines) + "\n"


def _shown(each: Explained) -> str:
    return cut(msgspec.json.encode(each.value).decode()) if each.in_event else "-"
