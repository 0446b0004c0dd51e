"""The API that all subjects call: nginx on loopback, much faster than any of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from process import BenchmarkError, free_port, need, running, wait_ready

PACKAGES = "nginx-light libnginx-mod-http-echo"
ECHO_MODULE = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")
ANSWER = '{"id": 1042, "name": "anvil", "price": "12.50", "stock": 77}'  # 60 bytes

CONFIG = """\
load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile 8192;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_timeout 120s;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        default_type application/json;
        location = /fast {{ return 200 '{answer}'; }}
        location = /slow100ms {{ echo_sleep 0.1; echo_exec /fast; }}
        location = /slow1s {{ echo_sleep 1; echo_exec /fast; }}
    }}
}}
"""


@contextlib.contextmanager
def serving(scratch: Path) -> Iterator[int]:
    """Run nginx for the length of the block and yield its port; its files stay under `scratch`."""
    nginx = need("nginx", PACKAGES)
    if not ECHO_MODULE.exists():
        raise BenchmarkError(f"nginx has no echo module. On Debian: apt-get install {PACKAGES}")
    folder, port = scratch / "upstream", free_port()
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(module=ECHO_MODULE, folder=folder, port=port, answer=ANSWER))
    with running([nginx, "-e", "stderr", "-c", config], log=folder / "log") as child:
        wait_ready(child, f"http://127.0.0.1:{port}/fast")
        yield port
