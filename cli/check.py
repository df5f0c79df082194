"""`shadowdrift check`: whether a configuration, and every file it names, would start."""

from __future__ import annotations

import sys
from pathlib import Path

from configuration import load
from configuration.files import check_files, check_secrets
from configuration.option import parser
from configuration.sections import Kafka
from configuration.slips import slips
from privacy.keys import load as load_key
from reference.profile import load_for


def main(arguments: list[str]) -> int:
    """Exit code 0 and one line where all is well; a `Refusal` tells the first thing that is not."""
    options = parser("check", "Check a configuration and everything it names, and exit.").parse_args(arguments)
    configuration = load(options.config)
    for index, model in enumerate(configuration.models):
        load_for(model, index)
    if isinstance(configuration.kafka, Kafka) and (configuration.kafka.tls or configuration.kafka.sasl):
        from configuration.brokers import brokers_of  # Kafka's client takes long to import

        brokers_of(configuration)
    check_files(configuration)
    if configuration.proxy.key_file is not None:
        load_key(Path(configuration.proxy.key_file), "proxy.key_file")
    check_secrets(configuration)
    for line in slips(configuration):
        sys.stdout.write(f"{options.config}: note: {line}\n")
    models = ", ".join(model.name for model in configuration.models)
    sys.stdout.write(f"{options.config}: ok (models: {models})\n")
    return 0
