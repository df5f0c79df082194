"""A YAML file to a `Configuration`: `${NAME}` from the environment, strict types, and one line for each mistake."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
import yaml

from configuration.model import Model
from configuration.rollback import Rollback
from configuration.schemas import with_schemas
from configuration.sections import Configuration, Kafka
from configuration.shown import cut, one_line, shown
from configuration.target import Target
from configuration.units import Duration, Size, parse_duration, parse_size
from lifecycle.refusal import Refusal

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}")
_LOCATION: Final = re.compile(r"(.*?)(?: - at `(?:key` in `)?\$(.*)`)?", re.DOTALL)
_UNUSABLE: Final = re.compile(r"[\0\ud800-\udfff]")
_STRING_TAG: Final = "tag:yaml.org,2002:str"
_MERGE_TAG: Final = "tag:yaml.org,2002:merge"
_NUMBER_TAGS: Final = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
_TIMESTAMP_TAG: Final = "tag:yaml.org,2002:timestamp"
_MOST_DIGITS: Final = 100
_MOST_VALUES: Final = 100_000
"""What anchors may unfold to: a few lines of them could otherwise stand for a billion values."""
_TLS_FILES: Final = ("ca_file", "certificate_file", "key_file")
_Named = TypeVar("_Named", bound=msgspec.Struct | None)
_TYPE_WORDS: Final = {
    "object": "a mapping",
    "array": "a list",
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
}


class _Loader(yaml.SafeLoader):
    """Safe YAML in which, as in YAML 1.2 and in JSON, `1e-6` is a number and `2026-01-01` is a text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as the base class has it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP_TAG]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)[eE][-+]?\d+"), list("-+.0123456789")
)


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Configuration:
    """Read the file, with every path in it made absolute.

    Raises `Refusal` with one line: the setting's path, the rule it breaks, its value.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Refusal(f"{path}: cannot be read: {error.strerror}; `--config FILE` names another file") from None
    except UnicodeDecodeError:
        raise Refusal(f"{path}: is not UTF-8 text") from None
    try:
        document = _document(text, environment)
    except Refusal as refusal:
        raise Refusal(f"{path}: {refusal}") from None
    return convert(document, path.absolute().parent, str(path))


def convert(document: Any, directory: Path, source: str) -> Configuration:
    """A document of plain values to a `Configuration`; its paths are relative to `directory`.

    `source` stands before the line of a `Refusal`.
    """
    try:
        configuration = msgspec.convert(document, Configuration, dec_hook=_unit)
    except msgspec.ValidationError as error:
        raise Refusal(f"{source}: {_one_line(str(error), document)}") from None
    try:
        return with_schemas(_with_absolute_paths(configuration, directory))
    except Refusal as refusal:
        raise Refusal(f"{source}: {refusal}") from None


def resolved_document(configuration: Configuration) -> str:
    """The configuration as text that `load` reads back to the same."""
    return msgspec.json.encode(configuration, enc_hook=_plain).decode()


def convert_resolved(text: str) -> Configuration:
    """What `resolved_document` wrote, back again; its paths are absolute already."""
    return msgspec.json.decode(text, type=Configuration, dec_hook=_unit)


def _plain(value: object) -> object:
    return float(value) if isinstance(value, Duration) else int(value)  # type: ignore[call-overload]


def _unit(kind: type, value: object) -> object:
    if kind is Duration:
        return parse_duration(value)
    if kind is Size:
        return parse_size(value)
    raise NotImplementedError(kind)  # msgspec's own word for a type that this hook does not know


def _with_absolute_paths(configuration: Configuration, directory: Path) -> Configuration:
    def absolute(path: str | None) -> str | None:
        return None if path is None else str(directory / path)

    def within(section: _Named, *fields: str) -> _Named:
        if section is None:
            return section
        return msgspec.structs.replace(section, **{field: absolute(getattr(section, field)) for field in fields})

    def target(section: Target) -> Target:
        probe, tls = within(section.probe, "request", "schema"), within(section.tls, *_TLS_FILES)
        return msgspec.structs.replace(section, probe=probe, tls=tls)

    def model(section: Model) -> Model:
        mirror = section.mirror
        return msgspec.structs.replace(
            within(section, "reference"),
            targets={version: target(found) for version, found in section.targets.items()},
            fallback=within(section.fallback, "body_file"),
            schema=within(section.schema, "file"),
            mirror=msgspec.structs.replace(mirror, credentials=within(mirror.credentials, "value_file")),
        )

    def rollback(section: Rollback) -> Rollback:
        return msgspec.structs.replace(
            within(section, "token_file", "prometheus_token_file"),
            nginx=within(section.nginx, "directory"),
            webhook=within(section.webhook, "body_file", "token_file", "ca_file"),
            grafana=within(section.grafana, "token_file"),
            slack=within(section.slack, "webhook_file"),
        )

    kafka = configuration.kafka
    if isinstance(kafka, Kafka):
        tls, sasl = within(kafka.tls, *_TLS_FILES), within(kafka.sasl, "password_file")
        kafka = msgspec.structs.replace(kafka, tls=tls, sasl=sasl)
    return msgspec.structs.replace(
        configuration,
        kafka=kafka,
        state_dir=absolute(configuration.state_dir),
        proxy=within(configuration.proxy, "token_file", "key_file"),
        exporter=within(configuration.exporter, "token_file"),
        rollback=rollback(configuration.rollback),
        models=tuple(model(section) for section in configuration.models),
    )


def _document(text: str, environment: Mapping[str, str]) -> Any:
    try:
        loader = _Loader(text)
    except yaml.YAMLError as error:  # a character that YAML does not have
        raise Refusal(f"is not YAML: {one_line(str(error).splitlines()[0])}") from None
    try:
        node = loader.get_single_node()
        if node is None:
            raise Refusal("the file is empty")
        _Preparation(loader, environment).prepare(node, "")
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise Refusal(f"{where}is not YAML: {one_line(str(error.problem))}") from None
    except yaml.YAMLError as error:
        raise Refusal(f"is not YAML: {one_line(str(error).splitlines()[0])}") from None
    except RecursionError:
        raise Refusal("is not YAML that can be used: it is nested too deeply") from None
    except ValueError as error:  # such as `!!int abc`
        raise Refusal(f"is not YAML that can be used: {one_line(str(error))}") from None
    except (AttributeError, LookupError, TypeError):  # such as `!!float [1]`: a tag on a value of another kind
        raise Refusal("is not YAML that can be used: a tag (!!…) does not fit its value") from None
    finally:
        loader.dispose()


class _Preparation:
    """Puts variables in, and refuses what YAML would take without a word or without an end."""

    def __init__(self, loader: yaml.SafeLoader, environment: Mapping[str, str]) -> None:
        self._loader = loader
        self._environment = environment
        self._unfolded: dict[int, int] = {}
        """How many values a node stands for, by its identity; 0 while it is being looked at."""

    def prepare(self, node: yaml.Node, path: str) -> int:
        """Look at a node once, however many aliases lead to it; how many values it stands for."""
        known = self._unfolded.get(id(node))
        if known is not None:
            if not known:
                raise Refusal(f"{path} must not hold itself: its alias leads to where it stands")
            return known
        self._unfolded[id(node)] = 0
        values = 1 + self._within(node, path)
        if values > _MOST_VALUES:
            raise Refusal(f"{path or 'the file'} must not unfold to more than {_MOST_VALUES} values by its anchors")
        self._unfolded[id(node)] = values
        return values

    def _within(self, node: yaml.Node, path: str) -> int:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return sum(self.prepare(value, f"{path}[{index}]") for index, value in enumerate(node.value))
        if _VARIABLE.search(node.value):
            node.value = _VARIABLE.sub(lambda match: _variable(match, path, self._environment), node.value)
            if (
                getattr(node, "style", None) is None
            ):  # unquoted: `workers: ${WORKERS}` is a number once the variable is in
                node.tag = self._loader.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]
        if _UNUSABLE.search(node.value):
            raise Refusal(f"{path} must be a text without NUL and halves of characters, got {shown(node.value)}")
        if node.tag in _NUMBER_TAGS and len(node.value) > _MOST_DIGITS:
            raise Refusal(f"{path} must have at most {_MOST_DIGITS} digits, got {shown(node.value)}")
        return 0

    def _mapping(self, node: yaml.MappingNode, path: str) -> int:
        seen = set()
        values = 0
        for key, value in node.value:
            if key.tag not in {_STRING_TAG, _MERGE_TAG}:
                got = cut(key.value) if isinstance(key, yaml.ScalarNode) else "a list or a mapping"
                raise Refusal(
                    f"{path or 'the file'} must have texts as keys, in quotes where they look otherwise, got {got}"
                )
            name = _join(path, cut(key.value))
            if key.value in seen:
                raise Refusal(f"{name} is given twice; keep one")
            seen.add(key.value)
            values += self.prepare(value, name)
        return values


def _variable(match: re.Match[str], path: str, environment: Mapping[str, str]) -> str:
    """As the shell has it: what stands behind `:-` is taken where the variable is not set, or empty."""
    name, default = match.groups()
    if default is not None:
        return environment.get(name) or default
    if name not in environment:
        raise Refusal(f"{path} needs the environment variable {name}, which is not set")
    return environment[name]


def _one_line(text: str, document: Any) -> str:
    """msgspec's message in the user's words: path, rule, value."""
    match = _LOCATION.fullmatch(text)
    rule, location = (match[1], match[2] or "") if match else (text, "")
    path, value, kind = _place(location, document)
    subject = path or "the file"
    if found := re.match(r"Object contains unknown field `(.*)`", rule, re.DOTALL):
        return f"{_join(path, cut(found[1]))} is not a setting; docs/configuration.md lists them"
    if found := re.match(r"Object missing required field `(.*)`", rule):
        return f"{_join(path, found[1])} is required"
    if found := re.match(r"Invalid enum value (.*)", rule, re.DOTALL):
        if isinstance(value, dict):
            return f"{subject} must have as keys {_allowed(kind)}, got {cut(found[1])}"
        return f"{subject} must be {_allowed(kind)}, got {shown(value)}"
    if found := re.match(r"Expected `array` of length (\d+), got (\d+)", rule):
        return f"{subject} must hold {found[1]} values, got {found[2]}"
    if found := re.match(r"Expected `(.*?)`(.*?)(?:, got `.*`)?$", rule):
        words = " or ".join(_TYPE_WORDS.get(word, word) for word in found[1].split(" | "))
        return f"{subject} must be {words}{found[2]}, got {shown(value)}"
    if rule.startswith("must"):  # a unit: the path is the setting's own
        return f"{subject} {one_line(rule)}"
    return _join(path, one_line(rule))


def _place(location: str, document: Any) -> tuple[str, Any, Any]:
    """msgspec's location as a path for people, with the value that stands there and its type.

    msgspec writes `[...]` for whichever value of a mapping is wrong; the key is found by trying each.
    """
    path, value, kind = "", document, Configuration
    for field, index, some in re.findall(r"\.(\w+)|\[(\d+)\]|(\[\.\.\.\])", location):
        options = get_args(kind) if isinstance(kind, UnionType) or get_origin(kind) is Union else (kind,)
        if field:
            section = next(option for option in options if field in _types(option))
            path, value, kind = _join(path, field), value[field], _types(section)[field]
        elif index:
            path, value, kind = (
                f"{path}[{index}]",
                value[int(index)],
                get_args(next(option for option in options if get_origin(option) is tuple))[0],
            )
        elif some:
            kind = get_args(next(option for option in options if get_origin(option) is dict))[1]
            key = next((key for key in value if _wrong(value[key], kind)), None)
            if key is not None:
                path, value = _join(path, cut(str(key))), value[key]
    return path, value, kind


def _types(section: Any) -> dict[str, Any]:
    return get_type_hints(section) if isinstance(section, type) and issubclass(section, msgspec.Struct) else {}


def _wrong(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind, dec_hook=_unit)
    except msgspec.ValidationError:
        return True
    return False


def _allowed(kind: Any) -> str:
    """The words that a setting of this type may have, or that a mapping of this type may have as keys."""
    parts = get_args(kind)
    if all(isinstance(part, str) for part in parts):
        return " or ".join(parts)
    words = [_allowed(part) for part in parts if get_origin(part) is Literal]
    sections = [part for part in parts if get_origin(kind) is not dict and _types(part)]
    return " or ".join([*words, *("a mapping" for _ in sections)])


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
