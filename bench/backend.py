"""What all subjects stand before: an nginx that answers at once, as production, and another as the shadow.

Its answer holds the request's `X-Echo` header and Content-Length, so that a client knows what its own answer must be,
byte for byte.
"""

from __future__ import annotations

import re
import socket
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Final

from bench.processes import Server
from tests.support.kafka import free_ports
from tests.support.nginx import program

ANSWER_SIZE: Final = 300
_PARTS: Final = '{{"prediction":0.5,"bytes":{length},"echo":"{echo}","model":"m","filling":"{filling}"}}'

_CONFIGURATION: Final = """
daemon off; worker_processes {workers}; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; default_type application/json;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ return 200 '{answer}'; }}
    location = /requests {{ stub_status; }}
  }}
}}
"""


class Backend:
    """One such model, serving."""

    def __init__(self, folder: Path, workers: int = 1) -> None:
        folder.mkdir(parents=True)
        (self.port,) = free_ports(1)
        file = folder / "nginx.conf"
        file.write_text(
            _CONFIGURATION.format(folder=folder, workers=workers, port=self.port, answer=_answer("$http_x_echo"))
        )
        self.server = Server("the backend's nginx", nginx_command(file, folder), folder)
        self.server.until(lambda: listens(self.port))
        self._questions = 0

    def requests(self) -> int:
        """How many it was sent."""
        self._questions += 1
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/requests", timeout=10) as answer:
            # The line of numbers: connections accepted, handled, requests, this one among them.
            found = re.search(r"^ \d+ \d+ (\d+) $", answer.read().decode(), re.MULTILINE)
        assert found is not None, "nginx's stub_status has these numbers"
        return int(found[1]) - self._questions


def expected_answer(echo: str, length: int = 300) -> bytes:
    """The body of the answer to a request with this `X-Echo`."""
    return _answer(echo).replace("$content_length", str(length)).encode()


def _answer(echo: str) -> str:
    bare = _PARTS.format(length=300, echo="", filling="")
    filling = ("shadowdrift " * 25)[: ANSWER_SIZE - len(bare)]
    return _PARTS.format(length="$content_length", echo=echo, filling=filling)


def nginx_command(file: Path, folder: Path) -> list[str]:
    """nginx on that file and nothing of the system's."""
    found = program()
    assert found is not None, "the run has looked for it before"
    return [found, "-e", "stderr", "-p", f"{folder}/", "-c", str(file)]


def listens(port: int) -> bool:
    """Whether somebody listens on that port of loopback."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
