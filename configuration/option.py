"""The `--config FILE` option that the commands share, and the configuration behind it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final, NoReturn

from configuration.reading import load
from configuration.sections import Configuration
from lifecycle.refusal import Refusal

DEFAULT_FILE: Final = "shadowdrift.yaml"


class Parser(argparse.ArgumentParser):
    """Of `prog="shadowdrift COMMAND"`; a slip in the arguments is a `Refusal`, one line like every other."""

    def error(self, message: str) -> NoReturn:
        """What argparse calls for each."""
        command = self.prog.removeprefix("shadowdrift ")
        raise Refusal(f"{command}: {message}; `{self.prog} --help` tells the usage")


def parser(command: str, description: str) -> argparse.ArgumentParser:
    """An argument parser for `shadowdrift COMMAND` with `--config`."""
    made = Parser(prog=f"shadowdrift {command}", description=description, allow_abbrev=False)
    made.add_argument(
        "--config", type=Path, default=Path(DEFAULT_FILE), metavar="FILE", help=f"the configuration ({DEFAULT_FILE})"
    )
    return made


def load_for_part(command: str, path: Path) -> Configuration:
    """The configuration for a part that needs a Kafka of the user's own. Raises `Refusal`."""
    configuration = load(path)
    if configuration.kafka == "embedded":
        raise Refusal(
            f"{path}: kafka: embedded is for `shadowdrift up` and `shadowdrift demo`, which start that broker; "
            f"`shadowdrift {command}` needs kafka.bootstrap_servers"
        )
    return configuration
