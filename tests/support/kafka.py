"""A real Apache Kafka for the tests: one Java process on loopback, broker and controller in one (KRaft).

librdkafka's mock, which development runs on, hides faults of assignment and retention; what depends on them is tested
here.
`python -m tests.support.real_parts` fetches the jars.
"""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from events.brokers import Brokers
from tests.support.waiting import until_sync

VERSION = "4.3.1"
OLDEST_JAVA = 17

_CHECKOUT = Path(__file__).resolve().parents[2]
JARS = _CHECKOUT / ".cache" / f"kafka-{VERSION}" / "libs"
LOGGING = Path(__file__).resolve().parent / "kafka_jars" / "log4j2.yaml"

# A quick compiler and collector: a short life under little load.
_JVM = ("-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={LOGGING.as_uri()}")

_LEAST_PORT = 20_000
_PORTS_EACH = 2_000


def _ports() -> range:
    """Those of this process: each of pytest's workers (`gw0`, `gw1` …) hands out its own.

    They lie below every system's range of ephemeral ports, or a client's connection may sit on the port when a broker
    comes back.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 6
    return range(_LEAST_PORT + worker * _PORTS_EACH, _LEAST_PORT + (worker + 1) * _PORTS_EACH)


_PORTS = _ports()
_handed_out: set[int] = set()


Settings = Mapping[str, str] | Callable[[Mapping[str, str]], Mapping[str, str]]
"""Of server.properties, over ours; or a function that is given ours."""


class KafkaEndedError(RuntimeError):
    """The broker did not start, or ended by itself; the message says why, from its log."""


def java_version() -> int | None:
    """The major version of the `java` on the PATH; None without one."""
    java = shutil.which("java")
    if java is None:
        return None
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', answer.stderr)
    return int(found[1]) if found and answer.returncode == 0 else None


def missing() -> str | None:
    """Why no broker can be started here, in one line; None if one can."""
    java = java_version()
    if java is None:
        return f"no java on the PATH (Java {OLDEST_JAVA} or newer runs the broker)"
    if java < OLDEST_JAVA:
        return f"java is version {java}; the broker needs {OLDEST_JAVA} or newer"
    if not JARS.is_dir():
        return f"no jars of Apache Kafka {VERSION}; `make test` fetches them with Maven"
    return None


class Kafka:
    """One broker in a folder of its own. `start` makes it; its ports and its data outlive `stop` and `kill`.

    `settings` go into server.properties, over ours: `{"log.retention.check.interval.ms": "500"}`.
    """

    def __init__(self, folder: Path, settings: Settings | None = None, format_arguments: Sequence[str] = ()) -> None:
        self._format_arguments = tuple(format_arguments)
        self.folder = folder
        self.log = folder / "broker.log"
        self._settings = settings
        self._port, self._controller_port = free_ports(2)
        self._broker: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    @property
    def brokers(self) -> Brokers:
        """How our own clients reach it."""
        return Brokers(self.bootstrap_servers)

    @property
    def bootstrap_servers(self) -> str:
        """host:port, the same over all restarts."""
        return f"127.0.0.1:{self._port}"

    @property
    def running(self) -> bool:
        """Whether the broker's process lives."""
        return self._broker is not None and self._broker.poll() is None

    def start(self, within: float = 60.0) -> None:
        """Start the broker, and return when it serves; KafkaEndedError if it ends instead."""
        if self.running:
            raise RuntimeError(f"the broker of {self.folder} runs already")
        self._forget()
        self.folder.mkdir(parents=True, exist_ok=True)
        for attempt in (1, 2, 3):
            try:
                self._start_once(within)
            except KafkaEndedError as error:
                self._forget()
                # Between looking for a free port and the broker's taking it, somebody else may. Only a first start may
                # move: after it the address is known.
                if "Unable to start acceptor" not in str(error) or self._ran_before or attempt == 3:
                    raise
                self._port, self._controller_port = free_ports(2)
            except BaseException:
                self.kill()
                raise
            else:
                (self.folder / "ran").touch()
                return

    def stop(self, within: float = 30.0) -> None:
        """SIGTERM, which ends it in order; after `within` seconds SIGKILL and an AssertionError."""
        if self._broker is None:
            return
        self._broker.send_signal(signal.SIGTERM)
        try:
            self._broker.wait(within)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"the broker still ran {within:g} s after SIGTERM (log: {self.log})") from error
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL: the crash of a broker."""
        if self._broker is not None:
            self._broker.kill()
        self._forget()

    @contextmanager
    def mute(self) -> Iterator[None]:
        """SIGSTOP for one block: connections stay, and nothing is answered."""
        assert self._broker is not None
        self._broker.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._broker.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop in order if it runs, then start: same ports, same data."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def _ran_before(self) -> bool:
        """Whether somebody may know the ports already."""
        return (self.folder / "ran").exists()

    def _start_once(self, within: float) -> None:
        """One attempt on the present ports."""
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in self._properties().items()))
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(properties)
        # Each life's log begins anew, so that an old "started" is not taken for the new one's.
        with self.log.open("wb") as log:
            self._broker = subprocess.Popen(
                _java("kafka.Kafka", str(properties)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C ends the tests, and these end the broker, in order
            )
        self._watcher = _kill_when_we_die(self._broker.pid)
        until_sync(self._serves, within, f"the broker's start (log: {self.log})")

    def _format(self, properties: Path) -> None:
        """Prepare the data folder, once; a KRaft broker starts on no other."""
        format_data = ("kafka.tools.StorageTool", "format", "--cluster-id", "5L6g3nShT-eMCtK--X86sw")
        done = subprocess.run(
            _java(*format_data, "--config", str(properties), *self._format_arguments),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = _first_error(done.stdout + done.stderr)
            raise KafkaEndedError(f"Kafka's data folder could not be formatted: {said}")

    def _serves(self) -> bool:
        """Whether the log says that the broker serves; KafkaEndedError if it ended."""
        ended = self._broker is not None and self._broker.poll() is not None
        said = self.log.read_text(errors="replace")
        if ended:
            raise KafkaEndedError(f"Kafka ended on start: {_first_error(said)} (log: {self.log})")
        return "Kafka Server started" in said

    def _forget(self) -> None:
        """Reap what has been killed or has ended, and close what belonged to it."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            # Before the broker is reaped: its number may then be another's.
            watcher.kill()
            watcher.wait()
            if watcher.stdin is not None:
                watcher.stdin.close()
        broker, self._broker = self._broker, None
        if broker is not None:
            broker.wait()

    def _properties(self) -> dict[str, str]:
        """server.properties."""
        plain = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://127.0.0.1:{self._port},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self._port}",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            # Topics are made on purpose, with their own partitions and retention.
            "auto.create.topics.enable": "false",
            # One node holds one copy; without these, groups and idempotent producers get no coordinator.
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            # Few internal partitions make the first consumer quick (50 by default).
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.num.partitions": "1",
            # A group's first join otherwise waits 3 s for more members.
            "group.initial.rebalance.delay.ms": "0",
            # So that a test can see the death of a consumer (6 s by default).
            "group.min.session.timeout.ms": "1000",
            # After a crash the broker's own registration has to run out before it may come back (9 s by default).
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "400",
        }
        if callable(self._settings):
            return plain | dict(self._settings(plain))
        return plain | dict(self._settings or {})


def _java(main: str, *arguments: str) -> list[str]:
    """The command that runs one of Kafka's classes."""
    return ["java", *_JVM, "-cp", f"{JARS}/*", main, *arguments]


def _first_error(log: str) -> str:
    """The line of a log that says most about why it ends."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    for pattern in (r"Unable to start acceptor", r"\] (ERROR|FATAL) ", r"Exception|Error"):
        for line in lines:
            if re.search(pattern, line):
                return line
    return lines[-1] if lines else "it said nothing"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, and that no earlier call was given: its caller may not listen there yet.

    (An nginx that got the port of the proxy it was to forward to forwarded to itself, a thousand times over.)
    """
    found: set[int] = set()
    fresh = [port for port in _PORTS if port not in _handed_out]
    for port in random.SystemRandom().sample(fresh, len(fresh)):
        with socket.socket() as probe:
            # As the broker itself does, or the rests of a former life's connections would count as taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.add(port)
        if len(found) == count:
            _handed_out.update(found)
            return sorted(found)
    raise RuntimeError(f"no {count} free ports among {_PORTS.start} to {_PORTS.stop - 1}")


def _kill_when_we_die(pid: int) -> subprocess.Popen[bytes]:
    """A watcher whose standard input ends with this process, however that dies, and which then kills `pid`.

    PR_SET_PDEATHSIG does without a second process, but exists on Linux alone, and fires when the *thread* that started
    the broker ends.
    """
    return subprocess.Popen(
        ["sh", "-c", 'read -r _; kill -9 "$1"', "watch-kafka", str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=os.sep,
        start_new_session=True,
    )
