"""`shadowdrift COMMAND`: one command for every part."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.metadata import version
from typing import Final

from lifecycle.refusal import REFUSED, Refusal

COMMANDS: Final = {
    "up": ("up.command", "proxy, exporter, rollback and, where asked for, a development broker as one process tree"),
    "demo": ("demo.command", "the whole on real flights of 2013, with drift"),
    "proxy": ("proxy.command", "the proxy in front of the models"),
    "exporter": ("exporter.command", "the exporter that measures drift"),
    "rollback": ("rollback.command", "what moves traffic, by alerts and by people's commands"),
    "explain": ("proxy.emitter.explain", "show what would be extracted from an exchange, and what is hidden of it"),
    "profile": ("reference.command", "make a reference profile out of training data or events, or show one"),
    "exchanges": ("cli.exchanges", "print recorded exchanges from Kafka, production beside shadow"),
    "topics": ("cli.topics", "make the Kafka topics, or check them"),
    "check": ("cli.check", "check a configuration and everything it names"),
}
"""A command's module, whose `main(arguments)` returns the exit code, and what it does. The module is imported when
it is asked for: `shadowdrift check` need not load numpy."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except Refusal as refusal:
        sys.stderr.write(f"shadowdrift: {refusal}\n")
        return REFUSED
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `shadowdrift help | head`
        # What is still to be written would fail once more at the interpreter's end, and be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        sys.stdout.write(_help())
        return 0 if arguments else REFUSED
    if arguments[0] == "--version":
        sys.stdout.write(f"shadowdrift {version('shadowdrift')}\n")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        raise Refusal(f"{name!r} is not a command; one of {', '.join(COMMANDS)}")
    module = importlib.import_module(COMMANDS[name][0])
    return int(module.main(rest))


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return (
        "usage: shadowdrift COMMAND [OPTION...]\n\n" + "\n".join(lines) + "\n\n"
        "`shadowdrift COMMAND --help` tells a command's options. Most take --config FILE (shadowdrift.yaml).\n"
    )


if __name__ == "__main__":
    sys.exit(main())
