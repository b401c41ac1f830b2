"""How long a server takes to refuse a key: not how nearly it was right, or which of the keys it was like.

Each kind of wrong key is measured beside one of its length that was made nowhere, in rounds: every round asks once with
a fresh key of each kind, in a random order, so that what the machine does besides falls on all alike. For each kind,
the median; the 95% confidence interval of the median difference to a key of nowhere within a round (by order
statistics: no assumption about the times); and the p-value of Mann and Whitney's rank test, two-sided. *differs* says
that this is below 1% for all kinds of one table together (Bonferroni).

Two controls show that the test sees what it looks for: a comparison that stops at the first byte that is wrong must be
found out, and at the entrance a key that is right, since what is done with it is something else. All keys are made
before the first is measured: what makes one leaves the caches as they are not after making another.

A key's length is nothing that a refusal hides: whoever tries it knows it, and ours all have the same, which is public.
A byte more takes some 20 ns more, whatever it is a byte of.
"""

import asyncio
import gc
import math
import random
import secrets
import socket
import statistics
import string
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.interval import interval
from benchmarks.server.measure import free_port, process
from benchmarks.size import FULL, Size
from gaia_core import Agent, Catalog, scripted
from gaia_core.journal.from_url import journal_from_url
from gaia_http import Settings
from gaia_http.door._access_control import AccessControl
from gaia_http.keys import Key, Keyring
from gaia_http.keys._key import PREFIX, digest_of, new_id, new_secret
from gaia_http.keys._key_file import change
from gaia_http.server.process import listen, loop_factory, run_server

KEYS = 20
ROUNDS, HTTP_ROUNDS, BRIEF_ROUNDS = 6_000, 1_200, 20
LEVEL = 0.01
NOWHERE, RIGHT = "made nowhere", "right (control)"
SHORT_NOWHERE, LONG_NOWHERE = "made nowhere, one byte short", "made nowhere, one byte more"
SHORT, LONG = "right, but one byte short", "right, and one byte more"
OF_NOWHERE = frozenset((NOWHERE, SHORT_NOWHERE, LONG_NOWHERE))
_CHARS = string.ascii_letters + string.digits

Kinds = dict[str, Callable[[], str]]
Times = dict[str, list[int]]


def keys_in(file: Path) -> tuple[str, str, str]:
    """Fill a key file. The secrets of its first and its last key, and that of one that was revoked."""
    revoked, *made = [new_secret() for _ in range(KEYS + 1)]

    def fill(before):
        keys = (Key(new_id(), f"key {n}", digest_of(before.salt, each.encode()), 0) for n, each in enumerate(made))
        gone = Key(new_id(), "gone", digest_of(before.salt, revoked.encode()), 0)
        return msgspec.structs.replace(before, keys=(*keys, gone))

    change(file, fill)
    change(file, lambda before: msgspec.structs.replace(before, keys=before.keys[:-1]))  # as a revocation does
    return made[0], made[-1], revoked


def kinds_of(first: str, last: str, revoked: str) -> Kinds:
    """Ways to be wrong, and one to be right; each makes a key anew whenever it is asked."""
    begin = len(PREFIX)
    middle = begin + (len(first) - begin) // 2

    def other(secret: str, at: int) -> str:
        char = secrets.choice([char for char in _CHARS if char != secret[at]])
        return secret[:at] + char + secret[at + 1 :]

    return {
        NOWHERE: new_secret,
        "another at the first byte": lambda: other(first, 0),
        "another at the first byte after the prefix": lambda: other(first, begin),
        "another in the middle": lambda: other(first, middle),
        "another at the last byte": lambda: other(first, len(first) - 1),
        "another at the last byte, of the newest key": lambda: other(last, len(last) - 1),
        "right in its first half": lambda: first[:middle] + new_secret()[middle:],
        "revoked": lambda: revoked,
        SHORT_NOWHERE: lambda: new_secret()[:-1],
        SHORT: lambda: first[:-1],
        LONG_NOWHERE: lambda: new_secret() + secrets.choice(_CHARS),
        LONG: lambda: first + secrets.choice(_CHARS),
        RIGHT: lambda: first,
    }


def timed(kinds: Kinds, rounds: int, ask: Callable[[bytes], object]) -> Times:
    """ns of each *ask*, by kind; the n-th of each kind belong together."""
    found: Times = {kind: [] for kind in kinds}
    order = list(kinds)
    chance = random.Random(1)
    plan: list[tuple[str, bytes]] = []
    for _ in range(rounds):
        chance.shuffle(order)
        plan += [(kind, kinds[kind]().encode()) for kind in order]
    for _, secret in plan[: len(plan) // 20]:
        ask(secret)  # warm
    gc.collect()
    gc.disable()
    try:
        for kind, secret in plan:
            began = time.perf_counter_ns()
            ask(secret)
            took = time.perf_counter_ns() - began  # before the kind's list is looked up, which is worth 20 ns
            found[kind].append(took)
    finally:
        gc.enable()
    return found


def rank_test(some: list[int], others: list[int]) -> float:
    """Mann and Whitney's test, two-sided, by its normal approximation with ties: the chance of ranks so far apart."""
    both = sorted([(value, True) for value in some] + [(value, False) for value in others])
    ranks, ties, start, total = 0.0, 0, 0, len(both)
    while start < total:
        end = start
        while end < total and both[end][0] == both[start][0]:
            end += 1
        ranks += sum(1 for _, mine in both[start:end] if mine) * (start + 1 + end) / 2
        ties += (end - start) ** 3 - (end - start)
        start = end
    n, m = len(some), len(others)
    spread = math.sqrt(n * m / 12 * (total + 1 - ties / (total * (total - 1))))
    return math.erfc(abs(ranks - n * (n + 1) / 2 - n * m / 2) / spread / math.sqrt(2)) if spread else 1.0


def beside(kind: str) -> str:
    """The kind of nowhere that a kind is compared with."""
    return {SHORT: SHORT_NOWHERE, LONG: LONG_NOWHERE}.get(kind, NOWHERE)


def show(title: str, times: Times) -> None:
    """Print what is known of each kind."""
    level = LEVEL / sum(kind not in OF_NOWHERE for kind in times)
    print(f"\n{title}: {len(times[NOWHERE])} rounds\n")
    print(f"| {'the key is':43} | {'median µs':>9} | {'difference µs, 95%':>20} | {'p':>7} | differs |")
    print(f"|{'-' * 45}|{'-' * 11}|{'-' * 22}|{'-' * 9}|---------|")
    for kind, found in times.items():
        median = f"{statistics.median(found) / 1e3:.2f}"
        if kind in OF_NOWHERE:
            print(f"| {kind:43} | {median:>9} | {'':20} | {'':7} | {'':7} |")
            continue
        others = times[beside(kind)]
        low, high = interval([one - other for one, other in zip(found, others, strict=True)])
        p = rank_test(found, others)
        span = f"{low / 1e3:+.2f} to {high / 1e3:+.2f}"
        print(f"| {kind:43} | {median:>9} | {span:>20} | {p:7.2g} | {'yes' if p < level else 'no':7} |")


def leaky(right: bytes) -> Callable[[bytes], bool]:
    """The comparison that must not be: it stops at the first byte that is wrong."""

    def same(secret: bytes) -> bool:
        return len(secret) == len(right) and all(one == other for one, other in zip(secret, right, strict=True))

    return same


def over_http(port: int, kinds: Kinds, rounds: int) -> Times:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def ask(secret: bytes) -> None:
            connection.sendall(
                b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer %b\r\n\r\n" % secret
            )
            told = b""
            while (end := told.find(b"\r\n\r\n")) < 0:
                told += connection.recv(65_536) or _gone()
            rest = end + 4 + int(told[:end].lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            while len(told) < rest:
                told += connection.recv(65_536) or _gone()

        return timed(kinds, rounds, ask)


def _gone() -> bytes:
    raise RuntimeError("the server has closed the connection")


def main(size: Size = FULL) -> None:
    rounds = size(ROUNDS, brief=4 * BRIEF_ROUNDS)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "keys.json"
        first, last, revoked = keys_in(file)
        kinds = kinds_of(first, last, revoked)
        ring = Keyring(file, plain=new_secret())
        entrance = AccessControl(Settings(), ring)

        def look_at(secret: bytes) -> None:
            headers = [(b"host", b"localhost"), (b"authorization", b"Bearer " + secret)]
            entrance.look_at({"type": "http", "method": "GET", "path": "/v1/models", "headers": headers})

        control = {kind: kinds[kind] for kind in (NOWHERE, "another in the middle", "another at the last byte")}
        show("A comparison that stops early (control)", timed(control, rounds // 4, leaky(first.encode())))
        show(f"The keyring of {KEYS} keys, and GAIA_API_KEY", timed(kinds, rounds, ring.find))
        show("The entrance", timed(kinds, rounds, look_at))
        port = free_port()
        with process(0, port, "benchmarks.keys", str(port), str(file)):
            show("A server, over HTTP", over_http(port, kinds, size(HTTP_ROUNDS, brief=BRIEF_ROUNDS)))


def serve(port: int, file: Path) -> None:
    """A server of its own process, with these keys."""
    settings = Settings(port=port)
    catalog = Catalog.of(Agent("bench"), models={"local": scripted("x")})
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(
            run_server(
                catalog,
                settings,
                listen(settings),
                journal=journal_from_url("memory", {}),
                say=lambda _line: None,
                keyring=Keyring(file),
            )
        )


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
