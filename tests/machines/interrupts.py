"""Interrupt the first `./run serve` at random moments, for real, and see that it succeeds afterwards.

    python3 tests/machines/interrupts.py [--times 30] [--chain 5] [--signal INT] [--seed N]

The checkout's last commit is cloned into a temporary folder. `./run serve` is started there in a process group of its
own, which gets the signal at a random moment of the time that the installation takes. After `--chain` interruptions of
one clone, it is started once more and has to answer `GET /health`; then its process gets SIGTERM and has to exit with
status 0. A fresh clone follows, until there were `--times` interruptions. Exits with status 1 at the first failure.

Everything is fresh but pip's cache of downloads. The model is an address where nothing listens: no weights are fetched.
"""
# ruff: noqa: T201  # a program

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 900.0
"""Seconds that an installation may take."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--chain", type=int, default=5)
    parser.add_argument("--signal", choices=("INT", "TERM", "KILL"), default="INT")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored, by all children too
    moments = random.Random(options.seed)
    number = signal.Signals[f"SIG{options.signal}"]
    print(f"seed {options.seed}, load {os.getloadavg()[0]:.1f}", flush=True)

    with clone() as (checkout, environ):
        seconds = serve_once(checkout, environ)
    print(f"without an interruption: ready after {seconds:.1f} s", flush=True)

    done, ready = 0, []
    while done < options.times:
        with clone() as (checkout, environ):
            for _ in range(min(options.chain, options.times - done)):
                moment = moments.uniform(0, seconds)
                said, complete = interrupt(checkout, environ, moment, number)
                if complete:  # the installation was quicker this time, and this clone's is over: it does not count
                    print(f"     SIG{options.signal} after {moment:4.1f} s: it serves already", flush=True)
                    break
                done += 1
                print(f"{done:3}  SIG{options.signal} after {moment:4.1f} s: {said}", flush=True)
            ready.append(serve_once(checkout, environ))
            print(f"     then ready after {ready[-1]:.1f} s", flush=True)
    print(
        f"{done} interruptions by SIG{options.signal}, {len(ready)} starts after them: all ready"
        f" (after {min(ready):.1f} to {max(ready):.1f} s)"
    )


@contextmanager
def clone() -> Iterator[tuple[Path, dict[str, str]]]:
    """A clone of this checkout's last commit, in a folder with a space, and an environment with an empty home."""
    with tempfile.TemporaryDirectory(prefix="interrupts ") as folder:
        checkout, home = Path(folder, "checkout"), Path(folder, "home")
        home.mkdir()
        subprocess.run(["git", "clone", "--quiet", ROOT, checkout], check=True)
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("GAIA_", "XDG_"))}
        cache = os.environ.get("PIP_CACHE_DIR") or str(Path.home() / ".cache" / "pip")
        ours |= {"HOME": str(home), "PIP_CACHE_DIR": cache, "GAIA_DISCOVER": "0"}
        yield checkout, ours | {"GAIA_MODEL_URL": "http://127.0.0.1:9/v1", "GAIA_MODEL": "m"}


class Server:
    """`./run serve` in a process group of its own; what it says, line by line."""

    def __init__(self, checkout: Path, environ: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [checkout / "run", "serve", "--port", "0"],
            cwd=environ["HOME"],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._new: SimpleQueue[str] = SimpleQueue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            self._new.put(line)
        self._new.put("")

    def address(self, timeout: float) -> str:
        """The URL under which it serves, or "" when it has not come to that within *timeout* seconds."""
        until = time.monotonic() + timeout
        with suppress(Empty):
            while line := self._new.get(timeout=max(0.0, until - time.monotonic())):
                if line.startswith("gaia serves "):
                    return line.split()[2].removesuffix("/v1")
        return ""

    def ended(self) -> int:
        """Its status, once it and everything that it started have ended."""
        status = self.process.wait(60)
        self._reader.join(60)  # until the last process that has its output
        assert not self._reader.is_alive(), "something is left of it that still writes"
        return status

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def serve_once(checkout: Path, environ: dict[str, str]) -> float:
    """Start, until it is healthy; then end its process. The seconds until it was healthy."""
    began = time.monotonic()
    server = Server(checkout, environ)
    try:
        address = server.address(PATIENCE)
        if not address:
            sys.exit("it does not serve:\n" + "\n".join(server.lines))
        with urllib.request.urlopen(f"{address}/health", timeout=30) as response:
            assert response.status == 200
        seconds = time.monotonic() - began
        server.process.terminate()
        status = server.ended()
        if status:
            sys.exit(f"its status after SIGTERM is {status}:\n" + "\n".join(server.lines))
        return seconds
    finally:
        server.end()


def interrupt(checkout: Path, environ: dict[str, str], moment: float, number: int) -> tuple[str, bool]:
    """Send the signal after *moment* seconds: what it had said last, and whether it served already."""
    server = Server(checkout, environ)
    try:
        address = server.address(moment)
        said = server.lines[-1] if server.lines else "(nothing said)"
        if server.process.poll() is not None:
            sys.exit(f"it ended by itself with status {server.process.returncode}:\n" + "\n".join(server.lines))
        os.killpg(server.process.pid, number)
        server.ended()
        return said, bool(address)
    finally:
        server.end()


if __name__ == "__main__":
    main()
