"""`shadowdrift check`: whether a configuration, and every file it names, would start."""

from __future__ import annotations

import sys
from pathlib import Path

from configuration import load
from configuration.ahead import slips
from configuration.files import check_files, check_rollback_files
from configuration.option import parser
from privacy.keys import load as load_key
from reference.profile import load_for


def main(arguments: list[str]) -> int:
    """Exit code 0 and one line where all is well; a `Refusal` tells the first thing that is not."""
    options = parser("check", "Check a configuration and everything it names, and exit.").parse_args(arguments)
    configuration = load(options.config)
    for index, model in enumerate(configuration.models):
        load_for(model, index)
    check_files(configuration)
    check_rollback_files(configuration.rollback)
    if configuration.proxy.key_file is not None:
        load_key(Path(configuration.proxy.key_file), "proxy.key_file")
    for line in slips(configuration):
        sys.stdout.write(f"{options.config}: note: {line}\n")
    models = ", ".join(model.name for model in configuration.models)
    sys.stdout.write(f"{options.config}: ok (models: {models})\n")
    return 0
