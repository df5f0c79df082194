"""The peers: Debian's nginx with `mirror`, and Envoy with `request_mirror_policies`.

Each is configured as its own documentation says, to do what our proxy does as far as it can: one worker, kept
connections on both sides, 5 % of the requests to the shadow, two seconds for it to answer, no access log.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

from bench.backend import listens, nginx_command
from bench.processes import Server, children
from tests.support.kafka import free_ports
from tests.support.nginx import program
from tests.support.wheels import ENVOY

PERCENT: Final = 5
SHADOW_SECONDS: Final = 2

_NGINX: Final = """
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  split_clients $request_id $cloned {{ {percent}% 1; * 0; }}
  upstream production {{ server 127.0.0.1:{production}; keepalive 64; keepalive_requests 1000000000; }}
  upstream shadow {{ server 127.0.0.1:{shadow}; keepalive 64; keepalive_requests 1000000000; }}
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header X-Request-Id $request_id;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ mirror /mirror; proxy_pass http://production; }}
    location = /mirror {{
      internal;
      if ($cloned = 0) {{ return 204; }}
      proxy_read_timeout {seconds}s;
      proxy_pass http://shadow$request_uri;
    }}
  }}
}}
"""


class Nginx:
    """nginx with `mirror`; it serves when this is made."""

    def __init__(self, folder: Path, production: int, shadow: int) -> None:
        folder.mkdir(parents=True)
        (self.port,) = free_ports(1)
        file = folder / "nginx.conf"
        file.write_text(
            _NGINX.format(
                folder=folder,
                port=self.port,
                production=production,
                shadow=shadow,
                percent=PERCENT,
                seconds=SHADOW_SECONDS,
            )
        )
        self.server = Server("nginx", nginx_command(file, folder), folder).until(lambda: listens(self.port))

    @property
    def worker(self) -> list[int]:
        """The one that serves, without the master."""
        return children(self.server.pid)


def nginx_version(of: str | None = None) -> str:
    """Such as 1.22.1, of this program or of the one on the PATH."""
    told = subprocess.run([of or program() or "nginx", "-v"], capture_output=True, text=True, check=True).stderr
    return told.strip().rpartition("/")[2]


class Envoy:
    """Envoy with `request_mirror_policies`; likewise."""

    def __init__(self, folder: Path, production: int, shadow: int) -> None:
        folder.mkdir(parents=True)
        (self.port,) = free_ports(1)
        file = folder / "envoy.json"
        file.write_text(json.dumps(envoy_configuration(self.port, production, shadow), indent=1))
        command = [str(ENVOY.program), "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
        self.server = Server("Envoy", command, folder).until(lambda: listens(self.port))

    @property
    def worker(self) -> list[int]:
        """The whole process: its other threads do next to nothing."""
        return [self.server.pid]


def envoy_configuration(port: int, production: int, shadow: int) -> dict[str, Any]:
    """One listener, one route, two clusters.

    A shadow's deadline is the route's: production answers long before it.
    """
    kinds = "type.googleapis.com/envoy.extensions.filters"
    share = {"default_value": {"numerator": PERCENT, "denominator": "HUNDRED"}}
    route = {
        "cluster": "production",
        "timeout": f"{SHADOW_SECONDS}s",
        "request_mirror_policies": [{"cluster": "shadow", "runtime_fraction": share}],
    }
    manager = {
        "@type": f"{kinds}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "codec_type": "HTTP1",
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]},
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{kinds}.http.router.v3.Router"}}
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {
        "static_resources": {
            "listeners": [{"address": _address(port), "filter_chains": [{"filters": filters}]}],
            "clusters": [_cluster("production", production), _cluster("shadow", shadow)],
        }
    }


def _cluster(name: str, port: int) -> dict[str, Any]:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
