"""A YAML file to a `Configuration`: `${NAME}` from the environment, strict types, and one line for each mistake."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from configuration.sections import Configuration, Model, Target
from configuration.units import Duration, Size, parse_duration, parse_size
from lifecycle.refusal import Refusal

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LOCATION: Final = re.compile(r"(.*?)(?: - at `(?:key in )?\$(.*?)`)?", re.DOTALL)
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
    """Safe YAML in which `1e-6` is a number, as in YAML 1.2 and in JSON."""


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
    return _with_absolute_paths(configuration, directory)


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
    raise NotImplementedError(kind)


def _with_absolute_paths(configuration: Configuration, directory: Path) -> Configuration:
    def absolute(path: str | None) -> str | None:
        return None if path is None else str(directory / path)

    def model(section: Model) -> Model:
        return msgspec.structs.replace(section, reference=absolute(section.reference))

    return msgspec.structs.replace(
        configuration,
        state_dir=absolute(configuration.state_dir),
        proxy=msgspec.structs.replace(configuration.proxy, token_file=absolute(configuration.proxy.token_file)),
        exporter=msgspec.structs.replace(
            configuration.exporter, token_file=absolute(configuration.exporter.token_file)
        ),
        models=tuple(model(section) for section in configuration.models),
    )


def _document(text: str, environment: Mapping[str, str]) -> Any:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise Refusal("the file is empty")
        _prepare(node, "", loader, environment)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise Refusal(f"{where}is not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise Refusal(f"is not YAML: {str(error).splitlines()[0]}") from None
    except (ValueError, RecursionError) as error:
        raise Refusal(f"is not YAML that can be used: {error}") from None
    finally:
        loader.dispose()


def _prepare(node: yaml.Node, path: str, loader: yaml.SafeLoader, environment: Mapping[str, str]) -> None:
    """Put variables in, and refuse a key that is given twice (YAML would keep the last without a word)."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            name = f"{path}.{key.value}".lstrip(".")
            if name in seen:
                raise Refusal(f"{name} is given twice; keep one")
            seen.add(name)
            _prepare(value, name, loader, environment)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _prepare(value, f"{path}[{index}]", loader, environment)
    elif isinstance(node, yaml.ScalarNode) and _VARIABLE.search(node.value):
        node.value = _VARIABLE.sub(lambda match: _variable(match[1], path, environment), node.value)
        if node.style is None:  # unquoted: `workers: ${WORKERS}` is a number once the variable is in
            node.tag = loader.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]


def _variable(name: str, path: str, environment: Mapping[str, str]) -> str:
    if name not in environment:
        raise Refusal(f"{path} needs the environment variable {name}, which is not set")
    return environment[name]


def _one_line(text: str, document: Any) -> str:
    """msgspec's message in the user's words: path, rule, value."""
    match = _LOCATION.fullmatch(text)
    rule, path = (match[1], (match[2] or "").lstrip(".")) if match else (text, "")
    path = _with_version(path, document)
    if found := re.match(r"Object contains unknown field `(.*)`", rule):
        return f"{_join(path, found[1])} is not a setting; docs/configuration.md lists them"
    if found := re.match(r"Object missing required field `(.*)`", rule):
        return f"{_join(path, found[1])} is required"
    if found := re.match(r"Invalid enum value (.*)", rule):
        return f"{path} must be one of the values in docs/configuration.md, got {found[1]}"
    if found := re.match(r"Expected `(.*?)`(.*?), got `.*`", rule):
        words = " or ".join(_TYPE_WORDS.get(word, word) for word in found[1].split(" | "))
        return f"{path or 'the file'} must be {words}{found[2]}, got {_shown(_value_at(path, document))}"
    if found := re.match(r"Expected `array` of length (\d+), got (\d+)", rule):
        return f"{path} must hold {found[1]} values, got {found[2]}"
    if rule.startswith("must"):  # a unit: the path is the setting's own
        return f"{path} {rule}"
    return _join(path, rule)


def _with_version(path: str, document: Any) -> str:
    """msgspec writes `targets[...]` for whichever target is wrong; find it."""
    prefix, found, rest = path.partition("targets[...]")
    if not found:
        return path
    targets = _value_at(f"{prefix}targets", document)
    for version, target in targets.items():
        try:
            msgspec.convert(target, Target, dec_hook=_unit)
        except msgspec.ValidationError:
            return f"{prefix}targets.{version}{rest}"
    return path


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _value_at(path: str, document: Any) -> Any:
    value = document
    for key, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        try:
            value = value[int(index)] if index else value[key]
        except (LookupError, TypeError):
            return "something else"
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
