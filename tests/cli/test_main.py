"""The command: what it tells of itself, and that no mistake of a user ends in a traceback."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from cli.main import COMMANDS, main

CHECKOUT = Path(__file__).parents[2]
EMBEDDED = "kafka: embedded\nmodels: [{name: fraud, targets: {v1: {url: 'http://127.0.0.1:1'}}, production: v1}]\n"
PARTS = {"proxy": ["proxy"], "exporter": ["exporter"], "topics": ["topics", "--check"]}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with the embedded broker, by the default name in the working directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "shadowdrift.yaml"
    path.write_text(EMBEDDED)
    return path


@pytest.mark.parametrize("arguments", [["help"], ["--help"], ["-h"]], ids=str)
def test_help_lists_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A line each, with what it does."""
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    lines = {words[0]: words[1:] for words in (line.split() for line in out.splitlines()) if words}
    assert err == ""
    for name, (_, what) in COMMANDS.items():
        assert lines[name] == what.split()


def test_without_a_command_the_help_comes_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing was done."""
    assert main([]) == 2
    assert "usage: shadowdrift COMMAND" in capsys.readouterr().out


def test_the_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    """One line."""
    assert main(["--version"]) == 0
    assert capsys.readouterr() == (f"shadowdrift {version('shadowdrift')}\n", "")


def test_an_unknown_command_is_one_line_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    assert main(["drfit", "--config", "x"]) == 2
    assert capsys.readouterr() == ("", f"shadowdrift: 'drfit' is not a command; one of {', '.join(COMMANDS)}\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_tells_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Under its own name."""
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: shadowdrift {name} ")


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_told_by_every_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line that leads to the command's usage, with exit code 2; an abbreviation is no option."""
    assert main([name, "--confi", "x"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"shadowdrift: {name}: ")
    assert err.endswith(f"; `shadowdrift {name} --help` tells the usage\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize("part", PARTS)
def test_a_part_by_itself_refuses_the_embedded_broker(
    part: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line that says what it needs instead."""
    assert main([*PARTS[part], "--config", str(config)]) == 2
    assert capsys.readouterr() == (
        "",
        (
            f"shadowdrift: {config}: kafka: embedded is for `shadowdrift up` and `shadowdrift demo`, which start that "
            f"broker; `shadowdrift {part}` needs kafka.bootstrap_servers\n"
        ),
    )


@pytest.mark.parametrize("arguments", [["check"], ["up"], *PARTS.values()], ids=str)
def test_a_missing_file_is_one_line_for_every_command(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The default name, and the option that names another."""
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert capsys.readouterr() == (
        "",
        (
            "shadowdrift: shadowdrift.yaml: cannot be read: No such file or directory; "
            "`--config FILE` names another file\n"
        ),
    )


def test_check_says_ok_and_names_the_models(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 0, nothing on standard error."""
    assert main(["check"]) == 0
    assert capsys.readouterr() == ("shadowdrift.yaml: ok (models: fraud)\n", "")


def test_check_reads_the_key_and_the_schema(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What would stop the start is told by it too, in one line."""
    config.write_text(EMBEDDED + "proxy: {key_file: secret.json}\n")
    assert main(["check"]) == 2
    path = config.parent / "secret.json"
    assert capsys.readouterr().err == f"shadowdrift: proxy.key_file: {path} cannot be read: no such file or directory\n"
    schema = config.parent / "schema.json"
    schema.write_text('{"fields": {"a": {"type": "float"}}}')
    config.write_text(EMBEDDED.replace("production: v1", "production: v1, schema: {file: schema.json}"))
    assert main(["check"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"shadowdrift: shadowdrift.yaml: models[0].schema.file: {schema} must be a schema such as")
    assert len(err.splitlines()) == 1


def test_check_reads_the_shadows_credentials(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there is told before anything starts."""
    config.write_text(
        EMBEDDED.replace("production: v1", "production: v1, mirror: {credentials: {value_file: shadow.token}}")
    )
    assert main(["check"]) == 2
    path = config.parent / "shadow.token"
    assert capsys.readouterr().err == (
        f"shadowdrift: models[0].mirror.credentials.value_file: {path} cannot be read: no such file or directory\n"
    )


SECRETS = {
    "the proxy's token": ("proxy: {token_file: absent}", "proxy.token_file: {}/absent cannot be read"),
    "the exporter's token": ("exporter: {token_file: absent}", "exporter.token_file: {}/absent cannot be read"),
    "an empty token": ("exporter: {token_file: empty}", "exporter.token_file: {}/empty is empty"),
    "the rollback's token": ("rollback: {token_file: absent}", "rollback.token_file: {}/absent cannot be read"),
    "Slack's address": (
        "rollback: {slack: {webhook_file: absent}}",
        "rollback.slack.webhook_file: {}/absent cannot be read",
    ),
}


@pytest.mark.parametrize("case", SECRETS)
def test_check_reads_the_secrets_of_every_part(case: str, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What one of the parts would refuse to start with is told before."""
    section, line = SECRETS[case]
    (config.parent / "empty").write_text("\n")
    config.write_text(EMBEDDED + section + "\n")
    assert main(["check"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"shadowdrift: {line.format(config.parent)}")
    assert len(told.splitlines()) == 1


def test_check_reads_what_kafka_needs(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The login's password and the authority's certificate."""
    kafka = "kafka: {bootstrap_servers: 'kafka:9092', sasl: {mechanism: PLAIN, username: a, password_file: absent}}"
    config.write_text(EMBEDDED.replace("kafka: embedded", kafka))
    assert main(["check"]) == 2
    path = config.parent / "absent"
    assert capsys.readouterr().err == (
        f"shadowdrift: kafka.sasl.password_file: {path} cannot be read: no such file or directory\n"
    )


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("shadow: v9", "shadowdrift.yaml: models[0].shadow must be one of the targets (v1), got 'v9'"),
        (
            "mirror: {fraction: 50}",
            "shadowdrift.yaml: models[0].mirror.fraction must be between 0 and 1, got 50",
        ),
        (
            "reference: no.json",
            (
                "models[0].reference: {directory}/no.json cannot be read: no such file or directory; "
                "make it with `shadowdrift profile train.csv --output {directory}/no.json`"
            ),
        ),
    ],
)
def test_check_tells_the_first_mistake(
    setting: str, line: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, exit code 2: what the file says and what the files are that it names."""
    config.write_text(EMBEDDED.replace("production: v1", f"production: v1, {setting}"))
    assert main(["check"]) == 2
    assert capsys.readouterr() == ("", f"shadowdrift: {line.format(directory=config.parent)}\n")


UP: dict[str, tuple[list[str], str]] = {
    "shadow without production": (
        ["--shadow", "http://m:1"],
        "--shadow goes with --production; without it, shadowdrift.yaml holds that setting",
    ),
    "fraction without production": (
        ["--fraction", "0.1"],
        "--fraction goes with --production; without it, shadowdrift.yaml holds that setting",
    ),
    "listen without production": (
        ["--listen", "127.0.0.1:0", "--config", "other.yaml"],
        "--listen goes with --production; without it, other.yaml holds that setting",
    ),
    "a production that is no url": (
        ["--production", "localhost:8001"],
        (
            "shadowdrift up: models[0].targets.production.url must be like http://host:port or https://host:port/path, "
            "got 'localhost:8001'"
        ),
    ),
    "a shadow that is no url": (
        ["--production", "http://m:1", "--shadow", "ftp://m"],
        (
            "shadowdrift up: models[0].targets.shadow.url must be like http://host:port or https://host:port/path, "
            "got 'ftp://m'"
        ),
    ),
    "a share above 1": (
        ["--production", "http://m:1", "--fraction", "5"],
        "shadowdrift up: models[0].mirror.fraction must be between 0 and 1, got 5",
    ),
    "a share that is no number": (
        ["--production", "http://m:1", "--fraction", "nan"],
        "shadowdrift up: models[0].mirror.fraction must be between 0 and 1, got nan",
    ),
    "an address that is none": (
        ["--production", "http://m:1", "--listen", "8080"],
        "shadowdrift up: proxy.listen must be an address such as 127.0.0.1:8080, got '8080'",
    ),
    "a profile that is not there": (
        ["--production", "http://m:1", "--reference", "no.json"],
        (
            "models[0].reference: {directory}/no.json cannot be read: no such file or directory; "
            "make it with `shadowdrift profile train.csv --output {directory}/no.json`"
        ),
    ),
}


@pytest.mark.parametrize("case", UP)
def test_up_refuses_bad_options_in_one_line(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is started."""
    monkeypatch.chdir(tmp_path)
    arguments, line = UP[case]
    assert main(["up", *arguments]) == 2
    assert capsys.readouterr() == ("", f"shadowdrift: {line.format(directory=tmp_path)}\n")


def test_the_installed_command_is_this_one(tmp_path: Path) -> None:
    """As a process of its own: exit code, one line, no traceback; a closed pipe is nobody's fault."""
    command = Path(sys.executable).with_name("shadowdrift")
    done = subprocess.run([command, "check"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("shadowdrift: shadowdrift.yaml: cannot be read")
    piped = subprocess.run(
        ["sh", "-c", f"'{command}' help | true"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert piped.stderr == ""


def test_check_loads_no_numpy(config: Path) -> None:
    """A command imports what it needs and no more, so that it answers at once."""
    program = """import sys
from cli.main import main
code = main(['check'])
print('aiokafka' in sys.modules)
sys.exit(code)"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=config.parent,
        env={"PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "False"


def test_check_notes_what_is_allowed_and_probably_not_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A shadow that is production, two parts on one port."""
    config = tmp_path / "shadowdrift.yaml"
    config.write_text(
        "kafka: embedded\nproxy: {listen: '127.0.0.1:9108'}\n"
        "models: [{name: fraud, targets: {v1: {url: 'http://127.0.0.1:1'}}, production: v1, shadow: v1}]\n"
    )
    assert main(["check", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    assert "note: exporter.listen has port 9108, as proxy.listen has" in out
    assert "note: models[0].shadow is the version that serves" in out


def test_up_takes_a_file_or_a_production_url_and_not_both(capsys: pytest.CaptureFixture[str]) -> None:
    """A file that would be ignored is refused."""
    assert main(["up", "--config", "x.yaml", "--production", "http://127.0.0.1:1"]) == 2
    assert capsys.readouterr().err == (
        "shadowdrift: --production goes without a file; leave out --config x.yaml or --production\n"
    )


def test_a_profile_never_overwrites_its_training_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever name the data is given by."""
    data = tmp_path / "train.csv"
    data.write_text("a\n1.5\n2.5\n")
    assert main(["profile", str(data), "--output", f"{tmp_path}/./train.csv"]) == 2
    assert "is the training data itself" in capsys.readouterr().err
    assert data.read_text() == "a\n1.5\n2.5\n"
