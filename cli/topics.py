"""`shadowdrift topics`: make the topics that the parts need, or check those that are there."""

from __future__ import annotations

import asyncio
import logging
import sys

from configuration.brokers import brokers_of
from configuration.option import load_for_part, parser
from events.topics import TopicsError, check, create
from lifecycle.refusal import Refusal


def main(arguments: list[str]) -> int:
    """Exit code 0 where all topics are as they should be, 1 where `--check` found differences."""
    made = parser("topics", "Make the Kafka topics with their partitions and retention, or check them.")
    action = made.add_mutually_exclusive_group(required=True)
    action.add_argument("--create", action="store_true", help="make the topics that are missing")
    action.add_argument("--check", action="store_true", help="compare every topic with what it should be")
    made.add_argument("--partitions", type=int, default=4, help="of each topic; one model uses one of them (4)")
    made.add_argument("--replication-factor", type=int, help="of each topic (3, or one for each broker)")
    options = made.parse_args(arguments)
    if options.partitions < 1:
        raise Refusal(f"--partitions must be at least 1, got {options.partitions}")
    if options.replication_factor is not None and options.replication_factor < 1:
        raise Refusal(f"--replication-factor must be at least 1, got {options.replication_factor}")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it meets is told in our own words
    brokers = brokers_of(load_for_part("topics", options.config))
    try:
        if options.check:
            return _report(asyncio.run(check(brokers)))
        names = asyncio.run(create(brokers, options.partitions, options.replication_factor))
    except TopicsError as error:
        raise Refusal(str(error)) from None
    sys.stdout.write("".join(f"made {name}\n" for name in names) or "every topic is there already\n")
    return _report(asyncio.run(check(brokers)))


def _report(lines: list[str]) -> int:
    for line in lines:
        sys.stderr.write(f"shadowdrift: {line}\n")
    if not lines:
        sys.stdout.write("every topic is as it should be\n")
    return 1 if lines else 0
