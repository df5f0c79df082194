"""`shadowdrift rollback`: the service, and the commands of people, which ask it."""

from __future__ import annotations

import argparse
import getpass
import json
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final

from configuration import Configuration, load
from configuration.option import DEFAULT_FILE, Parser
from configuration.units import parse_address
from lifecycle.process import run
from logs.lines import log_to_stdout
from rollback.client import Client
from rollback.secret_file import token_of

COMMANDS: Final = {
    "status": "who serves each model, whether alerts may act, and why not",
    "rollback": "the stable version serves, and alerts move nothing until `arm`",
    "restore": "the configuration's production serves again",
    "pause": "no version is asked; the fallback answers",
    "promote": "the shadow serves, if the evidence carries it",
    "arm": "alerts may act, also after they have acted",
    "disarm": "alerts move nothing",
    "follow": "watch a parameter or a file, and do on this host what it says",
}
REFUSED_BY_THE_SERVICE: Final = 1


def main(arguments: list[str]) -> int:
    """Exit code 0 where it was done, 1 where the service refused it, 2 where it could not be asked."""
    options = _parser().parse_args(arguments)
    configuration = load(options.config)
    if options.command is None or options.command == "follow":
        log_to_stdout("rollback")
        if options.command == "follow":
            from rollback.follow import follow

            return run(partial(follow, configuration))
        from rollback.service import serve

        return run(partial(serve, configuration))
    return _ask(configuration, options)


def _parser() -> argparse.ArgumentParser:
    made = Parser(
        prog="shadowdrift rollback",
        description="Decide which version is active: without a command, the service that Alertmanager and people ask.",
        allow_abbrev=False,
    )
    common = Parser(add_help=False, allow_abbrev=False)
    for parser in (made, common):
        default = Path(DEFAULT_FILE) if parser is made else argparse.SUPPRESS
        parser.add_argument(
            "--config", type=Path, default=default, metavar="FILE", help=f"the configuration ({DEFAULT_FILE})"
        )
    commands = made.add_subparsers(dest="command", metavar="COMMAND")
    for name, what in COMMANDS.items():
        one = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".", parents=[common])
        if name == "follow":
            continue
        one.add_argument("--url", help="the service, where it is not at rollback.listen")
        one.add_argument("--json", action="store_true", help="the whole answer")
        if name == "status":
            continue
        one.add_argument("--model", default="", help="may be left out where there is one")
        one.add_argument("--reason", default="", help="for the log, the annotation and the message")
        one.add_argument("--by", default=None, help="who orders it (this user)")
        if name in ("rollback", "promote"):
            one.add_argument("--version", help="another version than the stable one, or the shadow")
        if name == "promote":
            one.add_argument("--force", action="store_true", help="against the evidence; needs --reason")
    return made


def _ask(configuration: Configuration, options: argparse.Namespace) -> int:
    base = options.url or f"http://{parse_address(configuration.rollback.listen).reachable}"
    file = configuration.rollback.token_file
    client = Client(base, token_of("rollback.token_file", file), file)
    if options.command == "status":
        answer = client.status()
        sys.stdout.write(json.dumps(answer, indent=1) + "\n" if options.json else _status(answer))
        return 0
    if options.command in ("rollback", "restore", "pause", "promote"):
        for warning in client.status()["irreversible"]:
            sys.stderr.write(f"shadowdrift: {warning}\n")
    order = {"model": options.model, "reason": options.reason, "by": options.by or _user()}
    order |= {name: getattr(options, name) for name in ("version", "force") if getattr(options, name, None)}
    code, answer = client.order(options.command, order)
    sys.stdout.write(json.dumps(answer, indent=1) + "\n" if options.json else _outcome(answer))
    return 0 if code == 200 else REFUSED_BY_THE_SERVICE


def _outcome(answer: dict[str, Any]) -> str:
    text, reasons = answer["text"], answer.get("reasons", [])
    head = text.partition(f": {reasons[0]['text']}")[0] if reasons else text  # each reason has a line of its own
    lines = [f"{answer['model'] or 'no model'}: {answer['decision']}: {head}"]
    for one in (*reasons, *answer.get("overridden", ())):
        lines += [] if one["text"] == text else [f"  {one['rule']}: {one['text']}"]
    return "\n".join(lines) + "\n"


def _status(answer: dict[str, Any]) -> str:
    lines = []
    for name, model in answer["models"].items():
        entry = model["active"]
        shares = ", ".join(f"{version} {weight:.0%}" for version, weight in entry["weights"].items())
        serves = "paused" if entry["mode"] == "paused" else shares
        why = model["unreadable"] or entry["reason"]
        lines.append(f"{name}: {serves} ({why}; generation {entry['generation']})")
        roles = (f"{role} {model[role] or '-'}" for role in ("production", "shadow", "stable"))
        lines.append(f"  {', '.join(roles)}")
        lines.append(f"  alerts: {_alerts(answer, model)}")
        if (last := model["last"]) is not None:
            said = f"{last['decision']} ({last['reason']}): {last['text']}"
            lines.append(f"  last, {last['at']}: {last['alert']}: {said}")
    return "\n".join(lines) + "\n"


def _alerts(answer: dict[str, Any], model: dict[str, Any]) -> str:
    if not model["armed"]:
        return "disarmed; `shadowdrift rollback arm`"
    if model["latch"] is not None:
        return f"latched since {model['latch']['reason']}; `shadowdrift rollback arm`"
    if answer["dry_run"]:
        return "armed, but rollback.dry_run is on: they are only told"
    left = model["cool_down_seconds"]
    return f"armed, after a cool-down of {left:.0f} s" if left else "armed"


def _user() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):
        return "somebody"
