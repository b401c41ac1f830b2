"""nginx and Caddy with the files of deploy/, in front of a server: streams come piece by piece, and WebSockets open."""

import asyncio
import datetime as dt
import os
import re
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from benchmarks.postgres import reserved_port
from tests.deploy.commands import DEPLOY, proxied
from tests.deploy.conftest import KEY

NAME = "gaia.example"
HEADERS = {"host": NAME, "authorization": f"Bearer {KEY}"}


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    assert found is not None, (
        f"{name} is needed to test deploy/{name}: apt-get install -y --no-install-recommends {name}"
    )
    return found


def certificate(folder: Path) -> ssl.SSLContext:
    """A new certificate for NAME in *folder*, and who trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "fullchain.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "privkey.pem").write_bytes(private)
    return ssl.create_default_context(cafile=folder / "fullchain.pem")


def nginx(folder: Path, port: int, upstream: str) -> list[str]:
    text = (DEPLOY / "nginx" / "gaia.conf").read_text()
    for old, new in (
        ("server 127.0.0.1:4200;", f"server {upstream};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/etc/ssl/gaia/", f"{folder}/"),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "gaia.conf").write_text(text)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user}\ndaemon off;\npid {folder}/pid;\nerror_log stderr warn;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}include {folder}/gaia.conf;\n}}\n"
    )
    return [program("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]


def caddy(folder: Path, port: int, upstream: str) -> list[str]:
    text = (DEPLOY / "caddy" / "Caddyfile").read_text()
    assert re.search(rf"^{NAME} \{{$", text, re.MULTILINE)
    text = re.sub(
        rf"(?m)^{NAME} \{{$", f"https://{NAME}:{port} {{\n\tbind 127.0.0.1\n\ttls fullchain.pem privkey.pem", text
    )
    text = text.replace("reverse_proxy 127.0.0.1:4200", f"reverse_proxy {upstream}")
    assert upstream in text
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{text}")
    return [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


@pytest.fixture
def proxy(tmp_path):
    """Run a proxy; a client of it."""

    @asynccontextmanager
    async def proxy(make, upstream: str) -> AsyncIterator[tuple[aiohttp.ClientSession, ssl.SSLContext]]:
        folder = tmp_path / "proxy"
        folder.mkdir()
        trust = certificate(folder)
        with reserved_port() as port:
            words = make(folder, port, urlsplit(upstream).netloc)
            environ = {"PATH": os.environ["PATH"], "HOME": str(folder)}
            process = await asyncio.create_subprocess_exec(
                *words, cwd=folder, env=environ, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
            )
            try:
                await listening(port, process)
                draining = asyncio.create_task(process.stderr.read())
                async with aiohttp.ClientSession(f"https://127.0.0.1:{port}", headers=HEADERS) as http:
                    yield http, trust
            finally:
                if process.returncode is None:
                    process.terminate()
                said = (await draining).decode()
                assert await process.wait() == 0, said

    return proxy


async def listening(port: int, process: asyncio.subprocess.Process) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert process.returncode is None, (await process.stderr.read()).decode()
            await asyncio.sleep(0.02)
        else:
            writer.close()
            await writer.wait_closed()
            return


@pytest.mark.parametrize(("make", "name"), [(nginx, "nginx/gaia.conf"), (caddy, "caddy/Caddyfile")])
async def test_streams_and_websockets_pass(started, model, ask, proxy, make, name):
    environ = {"GAIA_API_KEY": KEY, "GAIA_MODEL_URL": model.url}
    async with started(proxied(name), environ) as server, proxy(make, server.url) as (http, trust):
        options = {"ssl": trust, "server_hostname": NAME}
        assert "last" in await ask(http, model, **options)
        async with http.get("/metrics", **options) as response:
            assert response.status == 404
        async with http.get("/v1/models", headers={"authorization": ""}, **options) as response:
            assert response.status == 401
        async with http.ws_connect("/v1/responses", **options) as socket:
            await socket.send_json({"type": "response.create", "model": "assistant", "input": "Hi"})
            text = ""
            while "response.completed" not in text:
                message = await socket.receive()
                assert message.type == aiohttp.WSMsgType.TEXT, message
                text += message.data
        assert "last" in text
