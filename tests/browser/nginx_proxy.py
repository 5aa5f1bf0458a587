"""A real nginx in front of the app, with the lines that docs/hosting.md gives."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

HOSTING = Path(__file__).resolve().parents[2] / "docs" / "hosting.md"
START_S = 20  # how long nginx may take until it listens

# One process, which runs as whoever starts it and keeps all its files below one folder.
CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {servers}
}}
"""


@dataclass(frozen=True, slots=True)
class Site:
    """One way to the app."""

    app: str  # its own address
    prefix: str = ""  # the path that visitors see it under
    https: bool = False
    # The documented lines with these changes; a line without a value is left out.
    headers: tuple[tuple[str, str], ...] = ()


def documented_location() -> str:
    """The location block of docs/hosting.md."""
    found = re.search(r"```nginx\n(.*?)```", HOSTING.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None, "docs/hosting.md has no nginx block"
    return found[1]


def find_nginx() -> str:
    """Where nginx lies; skips the test where there is none, except in CI."""
    # Debian puts it where only root looks for programs.
    path = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    openssl = shutil.which("openssl")
    if path and openssl:
        return path
    advice = "no nginx or no openssl found; install them with: apt-get install nginx-light openssl"
    if os.environ.get("CI"):
        pytest.fail(advice)
    pytest.skip(advice)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _make_certificate(folder: Path) -> None:
    """A certificate that nobody has signed, for this machine, valid for two days."""
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-newkey", "rsa:2048", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run(command, check=True, capture_output=True)


def _server(site: Site, port: int, folder: Path) -> str:
    location = documented_location().replace("/qwen/", f"{site.prefix}/")
    location = location.replace("http://127.0.0.1:7860/", site.app)
    for name, value in site.headers:
        line = f"    proxy_set_header {name} {value};\n" if value else ""
        location, count = re.subn(rf"    proxy_set_header {name} [^;]*;.*\n", line, location)
        assert count == 1, f"docs/hosting.md sets no {name}"
    secure = ""
    if site.https:
        secure = f"ssl_certificate {folder}/certificate.pem; ssl_certificate_key {folder}/key.pem;"
    tls = " ssl" if site.https else ""
    # Browsers ask for an icon at a host's root, which is another site's where there is a prefix.
    icon = "location = /favicon.ico { return 204; }" if site.prefix else ""
    return f"server {{ listen 127.0.0.1:{port}{tls}; {secure} {icon}\n{location}}}\n"


@contextmanager
def serve_through_nginx(sites: dict[str, Site], folder: Path) -> Iterator[dict[str, str]]:
    """Run one nginx in front of these; gives the address of each.

    Args:
        sites: by any name.
        folder: an empty one, for its files.
    """
    nginx = find_nginx()
    _make_certificate(folder)
    ports = {name: _free_port() for name in sites}
    servers = "".join(_server(site, ports[name], folder) for name, site in sites.items())
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, servers=servers), encoding="utf-8")
    process = subprocess.Popen(
        [nginx, "-p", str(folder), "-c", str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for port in ports.values():
            _wait_for(port, process, folder)
        yield {
            name: f"http{'s' if site.https else ''}://127.0.0.1:{ports[name]}{site.prefix}/"
            for name, site in sites.items()
        }
    finally:
        process.terminate()
        process.wait(START_S)


def _wait_for(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until nginx listens."""
    end = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    log = folder / "error.log"
    pytest.fail("nginx does not listen: " + (log.read_text() if log.exists() else "no log"))
