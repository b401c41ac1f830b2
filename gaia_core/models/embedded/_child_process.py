"""The child process: llama.cpp's own server on a loopback port, until standard input closes.

    python -P _child_process.py WEIGHTS CONTEXT_TOKENS SLOTS     serve
    python -P _child_process.py                                  only see whether the runtime can be loaded

The first line of standard input is the key that every request must carry: standard input is private to the two
processes, and arguments are seen by every user of the machine. A port on loopback is open to them all, and to every
web page in their browsers.

On standard output it says `loaded`, or `listening <url>` when it is ready, or, as its last line, what it failed at and
why: `unloadable <text>`, `refused <text>` (the weights) or `failed <text>`. Its log is on standard error. Standard
input closes when the parent ends, however it ends. Ctrl-C and SIGTERM reach a whole process group, so they are ignored
here: the parent lets its turns end first.
"""

import os
import signal
import sys
import threading
from typing import Any, NoReturn

LOADED = "loaded"
LISTENING = "listening "
UNLOADABLE = "unloadable "
REFUSED = "refused "
FAILED = "failed "

_PROMPT_CACHE_MIB = 256
_LONGEST_ANSWER_TOKENS = 2_048
_LONGEST_TEXT = 4_000
_NO_ORIGIN = "https://nobody.invalid"
"""The only web pages that may read answers: none can have this origin (source: RFC 2606). Not "null", which is what
sandboxed frames and local files have, and llama.cpp takes an empty text for that."""


def main(weights: str | None = None, context_tokens: str = "", slots: str = "") -> None:
    """Serve *weights* with *slots* requests at once, each with its own part of *context_tokens*."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    key = _first_line() if weights is not None else ""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        import xllamacpp  # noqa: PLC0415  # once the parent is watched
    except Exception as error:  # noqa: BLE001  # ImportError by the loader, or whatever its own code raises
        _fail(UNLOADABLE, error)
    if weights is None:
        _say(LOADED)
        os._exit(0)
    try:
        server = xllamacpp.Server(_parameters(xllamacpp, weights, int(context_tokens), int(slots), key))
    except RuntimeError as error:
        _fail(REFUSED, error)
    except Exception as error:  # noqa: BLE001  # its API has moved, or there is no memory
        _fail(FAILED, error)
    _say(f"{LISTENING}{server.listening_address}")
    threading.Event().wait()


def _parameters(xllamacpp: Any, weights: str, context_tokens: int, slots: int, key: str) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = weights
    # llama.cpp divides n_ctx by n_parallel. A unified cache would let one request use it all, but when it overflows,
    # llama.cpp fails every request that runs, not the one that grew.
    parameters.n_ctx = context_tokens
    parameters.n_parallel = slots
    parameters.kv_unified = False
    parameters.n_predict = _LONGEST_ANSWER_TOKENS  # unless the request says: a tiny model may never end by itself
    parameters.sampling.temp = 0.0  # unless the request says: a tiny model finds the right tool more often so
    parameters.cache_ram_mib = _PROMPT_CACHE_MIB
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.ui = False
    parameters.endpoint_slots = False  # it shows what others asked
    parameters.api_keys = [key]  # all of its routes ask for it, but for /health
    parameters.cors_origins = _NO_ORIGIN
    parameters.verbosity = 1
    return parameters


def _first_line() -> str:
    """The first line of standard input, and no byte of what follows. Ends the process where there is none."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(sys.stdin.fileno(), 1)
        if not byte:
            os._exit(0)  # the parent has ended
        line += byte
    return line.decode("ascii").strip()


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # this is its protocol


def _fail(word: str, error: Exception) -> NoReturn:
    """Say why it ends, in one line without a trace, and end."""
    text = str(error) if isinstance(error, ImportError | RuntimeError) else f"{type(error).__name__}: {error}"
    _say(f"{word}{' '.join(text.split())[:_LONGEST_TEXT]}")
    sys.exit(1)


def _end_with_the_parent() -> None:
    """End when standard input does. At once: there is nothing to save, and requests that run must not hold it up."""
    while os.read(sys.stdin.fileno(), 4_096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
