"""`shadowdrift profile`: training data, or a range of a topic's events, to a reference profile; `--show` prints one."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from configuration import Configuration
from configuration.brokers import brokers_of
from configuration.model import Drift, Model
from configuration.option import DEFAULT_FILE, Parser, load_for_part
from configuration.privacy import Bucket, Word
from configuration.reading import load as load_configuration
from lifecycle.refusal import Refusal
from privacy.keys import FILE_NAME
from privacy.keys import load as load_keys
from reference.draft import Draft, Result
from reference.feature_schema import save_schema, schema_of
from reference.files import FORMATS, profile_of
from reference.profile import Binning, Scheme, load, save
from reference.shown import overview, table
from reference.tally import Kind
from reference.treatment import Treatment


def main(arguments: list[str]) -> int:
    """Write the profile and tell what is in it. Raises `Refusal`, one line, for what the user has to mend."""
    given = _parser().parse_args(arguments)
    if given.show is not None:
        sys.stdout.write(table(load(Path(given.show), "profile: --show")))
        return 0
    if given.output is None:
        raise Refusal("profile: --output must name the profile to write, for example references/fraud.json")
    binning = _binning(given.bins, given.binning, (given.range[0], given.range[1]))
    result = _of_topic(given, binning) if given.topic is not None else _of_file(given, binning)
    save(result.profile, Path(given.output), "--output")
    if given.schema is not None:
        rules = _rules(given.config if given.topic is not None else given.privacy, given.model)
        save_schema(schema_of(result.profile, rules, result.types), Path(given.schema))
    for warning in result.warnings:
        sys.stderr.write(f"shadowdrift: warning: {warning}\n")
    sys.stdout.write(overview(result.profile, given.output))
    return 0


def _of_file(given: argparse.Namespace, binning: Binning) -> Result:
    if given.data is None:
        raise Refusal("profile: name the training data, or a --topic; `shadowdrift profile --help` tells the usage")
    for option in ("model", "from", "to"):
        if getattr(given, option) is not None and not (option == "model" and given.privacy is not None):
            raise Refusal(f"profile: --{option} belongs to --topic, but {given.data} is read")
    path, output = Path(given.data), Path(given.output)
    if output.exists() and path.exists() and output.samefile(path):
        raise Refusal(f"profile: --output {given.output} is the training data itself; name another file")
    treatment = None if given.privacy is None else _treatment(Path(given.privacy), given.model)
    return profile_of(path, binning, dict(given.kind), given.description, given.format, treatment)


def _treatment(path: Path, name: str | None) -> Treatment:
    """The rules of the configuration's model of that name, or of its only one, and the proxy's key."""
    configuration = load_configuration(path)
    model = _model(configuration, path, name)
    file = configuration.proxy.key_file
    key_path = Path(file) if file is not None else Path(configuration.state_dir) / FILE_NAME
    if file is None and not key_path.exists():
        raise Refusal(
            f"profile: --privacy: the key of the proxy: {key_path} cannot be read: no such file or directory; "
            "start the proxy once, which makes it, or write one (docs/privacy.md, The key)"
        )
    keys = load_keys(key_path, "profile: --privacy: the key of the proxy")
    return Treatment(model, keys)


def _rules(config: str | None, name: str | None) -> Mapping[str, Word | Bucket]:
    """What hides the model's features, where a configuration was named."""
    return {} if config is None else _model(load_configuration(Path(config)), Path(config), name).privacy.fields


def _model(configuration: Configuration, path: Path, name: str | None) -> Model:
    """The configuration's model of that name, or its only one. Raises `Refusal`."""
    names = [model.name for model in configuration.models]
    if name is None and len(names) > 1:
        raise Refusal(f"profile: --privacy {path} has several models; --model must be one of {', '.join(names)}")
    if name is not None and name not in names:
        raise Refusal(f"profile: --model {name}: {path} has no such model; it has {', '.join(names)}")
    return configuration.models[0 if name is None else names.index(name)]


def _of_topic(given: argparse.Namespace, binning: Binning) -> Result:
    # aiokafka takes as long to import as all the rest, and a file needs none of it.
    from reference.topic_rows import TopicRange, parse_time, read_topic

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it meets is told in our own words
    if given.privacy is not None:
        raise Refusal("profile: --privacy is for training data in clear; what stands in a topic is hidden already")
    if given.data is not None:
        raise Refusal(f"profile: either {given.data} or --topic {given.topic}, not both")
    for option in ("model", "from"):
        if getattr(given, option) is None:
            raise Refusal(f"profile: --topic needs --{option}; `shadowdrift profile --help` tells the usage")
    end = time.time() if given.to is None else parse_time("--to", given.to)
    wanted = TopicRange(given.topic, given.model, parse_time("--from", getattr(given, "from")), end)
    configuration = load_for_part("profile --topic", Path(given.config))
    _model(configuration, Path(given.config), given.model)
    draft = Draft(str(wanted), dict(given.kind), hidden=True)
    read_topic(brokers_of(configuration), wanted, draft)
    return draft.finished(binning, given.description)


def _parser() -> argparse.ArgumentParser:
    defaults = Drift()
    parser = Parser(
        prog="shadowdrift profile",
        description="Make a reference profile out of training data, each column a feature, a column named prediction "
        "the model's prediction; or out of the events of a model in a range of time.",
        allow_abbrev=False,
    )
    parser.add_argument("data", nargs="?", help="the training data: CSV with a header, JSON lines or Parquet")
    parser.add_argument("--output", help="the profile to write, for example references/fraud.json")
    parser.add_argument("--show", metavar="FILE", help="print a profile as a table, and do nothing else")
    parser.add_argument(
        "--format",
        choices=sorted(set(FORMATS.values())),
        help="where the file's name does not tell it (.csv, .jsonl, .ndjson, .json, .parquet, .pq)",
    )
    parser.add_argument(
        "--kind",
        action="append",
        default=[],
        type=_kind,
        metavar="COLUMN=KIND",
        help="numeric, categorical or text, where the choice made by itself is wrong (whole numbers with at most 20 "
        "distinct values are categories)",
    )
    parser.add_argument(
        "--privacy",
        metavar="FILE",
        help="the configuration whose privacy.fields the training data is hidden by, with the key of its proxy",
    )
    parser.add_argument("--schema", metavar="FILE", help="write a feature schema of the same data, too")
    parser.add_argument("--bins", type=int, default=defaults.bins, help="bins of a numeric column (%(default)s)")
    parser.add_argument("--binning", choices=get_args(Scheme), default=defaults.binning)
    parser.add_argument(
        "--range",
        type=float,
        nargs=2,
        default=defaults.range,
        metavar=("LOW", "HIGH"),
        help="the quantiles between which bins of equal width lie (0.05 0.95)",
    )
    parser.add_argument("--description", default="", help="a text for people; it does not count as a change")
    topic = parser.add_argument_group("out of events")
    topic.add_argument("--topic", help="inference.production or inference.shadow")
    topic.add_argument("--model", help="whose events; with --privacy, whose rules")
    topic.add_argument("--from", metavar="TIME", help="the first event's time, such as 2026-11-01T00:00:00Z")
    topic.add_argument("--to", metavar="TIME", help="the time before which the last one lies (now)")
    topic.add_argument("--config", default=DEFAULT_FILE, metavar="FILE", help=f"how Kafka is reached ({DEFAULT_FILE})")
    return parser


def _kind(text: str) -> tuple[str, Kind]:
    name, _, kind = text.rpartition("=")
    for known in get_args(Kind):
        if name and kind == known:
            return name, known
    raise argparse.ArgumentTypeError(f"must be like amount=numeric or zip=categorical, got {text!r}")


def _binning(bins: int, scheme: Scheme, quantiles: tuple[float, float]) -> Binning:
    """The same rules as for a model's `drift:`, told with the options' names."""
    try:
        Drift(bins=bins, binning=scheme, range=quantiles)
    except ValueError as error:
        raise Refusal(f"profile: --{error}") from None
    return Binning(bins, scheme, quantiles)
