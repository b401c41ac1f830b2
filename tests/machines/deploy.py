"""The start command of each file in deploy/, run as its container, pod, unit or proxy would run it. See README

    python3 -m tests.machines.deploy build                      # the Dockerfile's RUN lines, into /opt/gaia
    unshare --net python3 -m tests.machines.deploy run          # the commands, with the files' own ports and names

Run by machine.py on a bare machine, as root; it changes that machine. Python's standard library and PyYAML only.
"""

import fcntl
import http.client
import http.server
import json
import os
import shlex
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.commands import (
    DEPLOY,
    compose,
    compose_environment,
    dockerfile,
    instructions,
    let_in,
    pod,
    proxied,
    unit,
    variables,
)

CHECKOUT = DEPLOY.parent
KEY = "a-key-of-some-characters"
PASSWORD = "pass-word"
SECONDS = 90
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

ENTER = """
set -eu
mount --bind / /mnt
mount -t proc proc /mnt/proc
mount --rbind /dev /mnt/dev
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /mnt/tmp
while [ "$1" != -- ]; do
    mkdir -p "/mnt$2"
    mount --bind "$1" "/mnt$2"
    mount -o "remount,bind,$3" "/mnt$2"
    shift 3
done
shift
mount -o remount,bind,ro /mnt
exec chroot /mnt setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
    env -i "$@"
"""
"""sh -c ENTER sh [SOURCE TARGET ro|rw]… -- env's arguments: no root, no capability, and a root that is read-only."""


def build() -> None:
    """Carry out the Dockerfile: both stages in this one system, whose Python stands for the image's."""
    if shutil.which("python") is None:
        Path("/usr/local/bin/python").symlink_to("/usr/bin/python3")
    environ, folder = dict(os.environ), Path("/")
    for name, text in instructions():
        if name == "WORKDIR":
            folder = Path(text)
            folder.mkdir(parents=True, exist_ok=True)
        elif name == "ARG":
            environ |= variables(text)
        elif name == "COPY" and not text.startswith("--from"):
            for path in {path for pattern in let_in() for path in CHECKOUT.glob(pattern)}:
                copy(path, folder / path.relative_to(CHECKOUT))
        elif name == "RUN":
            say(f"RUN {' '.join(text.split())}")
            subprocess.run(("sh", "-ec", text), cwd=folder, env=environ, check=True, stdout=subprocess.DEVNULL)


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def say(text: str) -> None:
    sys.stderr.write(f"deploy: {text}\n")
    sys.stderr.flush()


# A model server that holds back the end of its answer, and a database.


class Model(http.server.BaseHTTPRequestHandler):
    """Its answer's first word comes at once, the last one when the gate is open."""

    gate: threading.Event

    def do_GET(self) -> None:
        self._head("application/json")
        self.wfile.write(json.dumps({"data": [{"id": "qwen3:4b"}]}).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._head("text/event-stream")
        self._word("first ", None)
        self.gate.wait(SECONDS)
        self._word("last", "stop")
        self.wfile.write(b"data: [DONE]\n\n")

    def _head(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.end_headers()

    def _word(self, word: str, reason: str | None) -> None:
        choice = {"index": 0, "delta": {"content": word}, "finish_reason": reason}
        self.wfile.write(b"data: " + json.dumps({"id": "x", "choices": [choice]}).encode() + b"\n\n")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def model(port: int) -> Iterator[threading.Event]:
    """A model server on *port*; its gate."""
    gate = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), type("Gated", (Model,), {"gate": gate}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield gate
    finally:
        gate.set()
        server.shutdown()
        server.server_close()


@contextmanager
def database() -> Iterator[None]:
    """PostgreSQL on its own port, with the user and the database that compose and Kubernetes name."""
    (programs,) = Path("/usr/lib/postgresql").glob("*/bin")
    folder = Path("/var/tmp/database")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "password").write_text(PASSWORD)
    subprocess.run(("chown", "-R", "postgres", folder), check=True)
    user = ("setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "env", "-C", "/")
    made = ("-D", folder / "data", "-U", "gaia", "-A", "scram-sha-256", "--pwfile", folder / "password")
    subprocess.run((*user, programs / "initdb", *made), check=True, stdout=subprocess.DEVNULL)
    settings = ("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}")
    with running((*user, programs / "postgres", "-D", folder / "data", *settings), stop=signal.SIGINT) as process:
        listening(5432, process)  # which it does some time before it serves
        until(lambda: subprocess.run((programs / "pg_isready", "-q", "-h", "127.0.0.1"), check=False).returncode == 0)
        words = (programs / "createdb", "-h", "127.0.0.1", "-U", "gaia", "gaia")
        subprocess.run(words, env={"PGPASSWORD": PASSWORD}, check=True)
        yield


# Processes.


@contextmanager
def running(
    words: Sequence[object], stop: int = signal.SIGTERM, **options: object
) -> Iterator[subprocess.Popen[bytes]]:
    """A process; at the end it is asked to stop, and must end with status 0."""
    with subprocess.Popen(list(map(str, words)), **options) as process:
        try:
            yield process
            process.send_signal(stop)
            status = process.wait(SECONDS)
            assert status == 0, f"{words} ended with status {status}"
        finally:
            if process.poll() is None:
                process.kill()


def listening(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(SECONDS * 10):
        assert process.poll() is None, f"{process.args} ended with status {process.returncode}"
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens on port {port}")


def contained(
    words: Sequence[str], environ: Mapping[str, str], mounts: Sequence[tuple[object, str, str]], folder: str
) -> list[str]:
    """A command that runs *words* in *folder* as user 10001, with *mounts* (source, target, ro or rw)."""
    flat = [str(word) for mount in mounts for word in mount]
    given = [f"{name}={value}" for name, value in environ.items()]
    entered = ("unshare", "--mount", "--propagation", "unchanged", "sh", "-c", ENTER, "sh")
    return [*entered, *flat, "--", "-C", folder, *given, *words]


def owned(path: str) -> Path:
    """A new, empty folder of the user 10001: a volume."""
    shutil.rmtree(path, ignore_errors=True)
    Path(path).mkdir(parents=True, mode=0o700)
    os.chown(path, 10001, 10001)
    return Path(path)


def confined(process: subprocess.Popen[bytes]) -> None:
    """Check in /proc that *process* has what the files promise: another user, no capability, a read-only root."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in text.splitlines())}
    assert status["Uid"] == ["10001"] * 4, status["Uid"]
    assert {status[name][0] for name in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}
    assert status["NoNewPrivs"] == ["1"]
    mounts = [line.split() for line in Path(f"/proc/{process.pid}/mountinfo").read_text().splitlines()]
    (root,) = (fields for fields in mounts if fields[4] == "/")
    assert "ro" in root[5].split(","), root


def ask(gate: threading.Event, *, name: str = "", trust: ssl.SSLContext | None = None) -> None:
    """A streamed answer, whose first word must come while the model holds back the last one; 401 without a key."""
    gate.clear()
    made = http.client.HTTPSConnection if trust else http.client.HTTPConnection
    options = {"context": trust} if trust else {}
    connection = made(name or "127.0.0.1", 443 if trust else 4200, timeout=SECONDS, **options)
    body = json.dumps({"model": "assistant", "messages": [{"role": "user", "content": "Hi"}], "stream": True})
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    connection.request("POST", "/v1/chat/completions", body, headers)
    response = connection.getresponse()
    text = b"" if response.status == 200 else response.read()
    assert response.status == 200, text
    while b"first " not in text:
        text += response.readline()
    assert b"last" not in text
    gate.set()
    assert b"last" in response.read()
    connection.close()
    assert get("/v1/models", connection=made(name or "127.0.0.1", 443 if trust else 4200, **options))[0] == 401
    assert name == "" or get("/metrics", connection=made(name, 443, **options))[0] == 404


def get(path: str, connection: http.client.HTTPConnection | None = None) -> tuple[int, bytes]:
    connection = connection or http.client.HTTPConnection("127.0.0.1", 4200, timeout=SECONDS)
    connection.request("GET", path)
    response = connection.getresponse()
    found = response.status, response.read()
    connection.close()
    return found


# The files.


def container() -> None:
    """The Dockerfile's command and its health check, with the documentation's mounts; without a key it refuses."""
    found = dockerfile()
    words = [*json.loads(found["ENTRYPOINT"]), *json.loads(found["CMD"])]
    environ = variables(found["ENV"]) | {"GAIA_MODEL_URL": "http://model:11434/v1"}
    environ["PATH"] = environ["PATH"].replace("$PATH", SYSTEM_PATH)
    mounts = [(owned("/srv/volume"), found["VOLUME"], "rw"), ("/srv/notes", found["WORKDIR"], "ro")]
    refused = subprocess.run(contained(words, environ, mounts, "/work"), capture_output=True, check=False)
    assert refused.returncode == 1
    assert b"gaia keys create" in refused.stderr
    with model(11434) as gate:
        with running(contained(words, environ | {"GAIA_API_KEY": KEY}, mounts, "/work")) as process:
            listening(4200, process)
            confined(process)
            ask(gate)
            check = json.loads(found["HEALTHCHECK"].split("CMD", 1)[1])
            subprocess.run(contained(check, environ, mounts, "/work"), check=True)
        failed = subprocess.run(contained(check, environ, mounts, "/work"), stderr=subprocess.DEVNULL, check=False)
        assert failed.returncode == 1
    assert Path("/srv/volume/gaia/journal.sqlite").stat().st_uid == 10001


def composed() -> None:
    """The service of compose, with its volumes, its database and its model server by their names."""
    service, image = compose(), dockerfile()
    environ = variables(image["ENV"]) | compose_environment({"GAIA_API_KEY": KEY, "POSTGRES_PASSWORD": PASSWORD})
    environ["PATH"] = environ["PATH"].replace("$PATH", SYSTEM_PATH)
    sources = {"data": owned("/srv/volume"), "./work": "/srv/notes"}
    mounts = []
    for volume in service["volumes"]:
        source, target, *options = volume.split(":")
        mounts.append((sources[source], target, *(options or ["rw"])))
    words = [*json.loads(image["ENTRYPOINT"]), *service["command"]]
    with database(), model(11434) as gate, running(contained(words, environ, mounts, image["WORKDIR"])) as process:
        listening(4200, process)
        confined(process)
        ask(gate)
        assert b"problems" not in get("/ready")[1]


def kubernetes() -> None:
    """The pod's command with its volumes, its probes, and the command before it is stopped."""
    spec, image = pod(), dockerfile()
    (found,) = spec["containers"]
    secrets = {"GAIA_API_KEY": KEY, "PGPASSWORD": PASSWORD}
    environ = variables(image["ENV"]) | {entry["name"]: entry.get("value", "") for entry in found["env"]} | secrets
    environ["PATH"] = environ["PATH"].replace("$PATH", SYSTEM_PATH)
    sources = {"config": DEPLOY / "kubernetes", "data": owned("/srv/volume"), "tmp": owned("/srv/tmp")}
    mounts = [
        (sources[each["name"]], each["mountPath"], "ro" if each.get("readOnly") else "rw")
        for each in found["volumeMounts"]
    ]
    words = [*json.loads(image["ENTRYPOINT"]), *found["args"]]
    with database(), model(8080) as gate, running(contained(words, environ, mounts, image["WORKDIR"])) as process:
        listening(found["ports"][0]["containerPort"], process)
        confined(process)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert get(found[probe]["httpGet"]["path"])[0] == 200
        ask(gate)
        pause = found["lifecycle"]["preStop"]["exec"]["command"]
        subprocess.run(contained(pause, environ, mounts, "/"), check=True)


def systemd() -> None:
    """The unit as it is: verified, its command run as another user, ready, reloaded, and stopped."""
    subprocess.run(("systemd-analyze", "verify", "--man=no", DEPLOY / "systemd" / "gaia.service"), check=True)
    found = unit()
    shutil.rmtree("/etc/gaia", ignore_errors=True)
    text = (DEPLOY / "systemd" / "gaia.service").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("#   install"))
    subprocess.run(("sh", "-ec", line.removeprefix("#")), check=True)  # its comment's, the installation
    assert Path("/etc/gaia/environment").stat().st_mode & 0o777 == 0o600
    Path("/etc/gaia/gaia.toml").write_text('[models.local]\nurl = "http://model:11434/v1"\n[agents.assistant]\n')
    environ = {"PATH": SYSTEM_PATH, "NOTIFY_SOCKET": "/run/notify/socket", "GAIA_API_KEY": KEY}
    environ |= variables(" ".join(found["Environment"]))
    state = [(owned(f"/srv{folder}"), f"{folder}/gaia", "rw") for folder in ("/var/lib", "/var/cache")]
    (words,) = (shlex.split(line) for line in found["ExecStart"])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, model(11434) as gate:
        manager.bind(str(owned("/srv/notify") / "socket"))
        os.chmod("/srv/notify/socket", 0o777)
        manager.settimeout(SECONDS)
        mounts = [*state, ("/srv/notify", "/run/notify", "rw")]
        command = contained(words, environ, mounts, found["WorkingDirectory"][0])
        log = Path("/srv/unit.log")
        with log.open("wb") as file, running(command, stderr=file) as process:
            assert manager.recv(1_000) == b"READY=1"
            confined(process)
            ask(gate)
            reload = found["ExecReload"][0].replace("$MAINPID", str(process.pid))
            subprocess.run(shlex.split(reload), check=True)
            until(lambda: b"reload" in log.read_bytes())
        told = {manager.recv(1_000).splitlines()[0]}
        while b"STOPPING=1" not in told:
            told.add(manager.recv(1_000).splitlines()[0])
        for line in log.read_text().splitlines():
            json.loads(line)
    assert Path("/srv/var/lib/journal.sqlite").exists()


def until(holds) -> None:
    for _ in range(SECONDS * 10):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("it never held")


@contextmanager
def behind(name: str) -> Iterator[threading.Event]:
    """The server that the proxy's file *name* says to start, under its image's user; the model's gate."""
    words = proxied(name)
    environ = {"PATH": f"/opt/gaia/bin:{SYSTEM_PATH}", "XDG_DATA_HOME": "/data", "GAIA_API_KEY": KEY}
    environ |= {"GAIA_MODEL_URL": "http://model:11434/v1"}
    command = contained(words, environ, [(owned("/srv/volume"), "/data", "rw")], "/work")
    with model(11434) as gate, running(command) as process:
        listening(4200, process)
        yield gate


def nginx() -> None:
    """The file as it is, in the place that its first line names."""
    folder = Path("/etc/ssl/gaia")
    folder.mkdir(exist_ok=True)
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=gaia.example"
    made = ("-addext", "subjectAltName=DNS:gaia.example", "-keyout", "privkey.pem", "-out", "fullchain.pem")
    subprocess.run((*words.split(), *made), cwd=folder, check=True, stderr=subprocess.DEVNULL)
    shutil.copyfile(DEPLOY / "nginx" / "gaia.conf", "/etc/nginx/conf.d/gaia.conf")
    subprocess.run(("nginx", "-q", "-t"), check=True)
    with behind("nginx/gaia.conf") as gate, running(("nginx", "-g", "daemon off;")) as process:
        listening(443, process)
        ask(gate, name="gaia.example", trust=ssl.create_default_context(cafile=folder / "fullchain.pem"))


def caddy() -> None:
    """The file, with one option before it: certificates of Caddy's own authority, as no other one knows the name."""
    file, data = Path("/srv/Caddyfile"), owned("/srv/caddy")
    file.write_text("{\n\tlocal_certs\n\tskip_install_trust\n}\n" + (DEPLOY / "caddy" / "Caddyfile").read_text())
    environ = {"PATH": SYSTEM_PATH, "HOME": str(data), "XDG_DATA_HOME": str(data)}
    words = ("caddy", "run", "--adapter", "caddyfile", "--config", file)
    with (
        behind("caddy/Caddyfile") as gate,
        open("/srv/caddy.log", "wb") as log,
        running(words, env=environ, stderr=log) as process,
    ):
        listening(443, process)
        root = data / "caddy/pki/authorities/local/root.crt"
        certified(root)
        ask(gate, name="gaia.example", trust=ssl.create_default_context(cafile=root))


def certified(root: Path) -> None:
    """Wait until Caddy has a certificate for its site."""
    until(root.exists)
    trust = ssl.create_default_context(cafile=root)

    def answers() -> bool:
        try:
            with socket.create_connection(("gaia.example", 443)) as plain:
                trust.wrap_socket(plain, server_hostname="gaia.example").close()
        except ssl.SSLError:
            return False
        return True

    until(answers)


def run() -> None:
    """Each file in turn, in a network of this process's own."""
    Path("/etc/hosts").write_text("127.0.0.1 localhost postgres model gaia.example\n")
    bring_up_loopback()
    Path("/srv/notes").mkdir(exist_ok=True)
    for step in (container, composed, kubernetes, systemd, nginx, caddy):
        began = time.monotonic()
        step()
        say(f"{step.__name__}: ok in {time.monotonic() - began:.0f} s")


def bring_up_loopback() -> None:
    with socket.socket() as any_socket:
        up, get_flags, set_flags = 1, 0x8913, 0x8914  # linux/if.h, linux/sockios.h
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, get_flags, request))[1]
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh14x", b"lo", flags | up))


if __name__ == "__main__":
    {"build": build, "run": run}[sys.argv[1]]()
