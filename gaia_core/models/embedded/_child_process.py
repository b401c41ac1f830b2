"""The child process: llama.cpp's own server on a loopback port, until standard input closes.

    python -P _child_process.py WEIGHTS CONTEXT_TOKENS SLOTS

It says `listening <url>` on standard output when it is ready; its log is on standard error. Standard input closes when
the parent ends, however it ends. Ctrl-C and SIGTERM reach a whole process group, so they are ignored here: the parent
lets its turns end first.
"""

import os
import signal
import sys
import threading

LISTENING = "listening "

_PROMPT_CACHE_MIB = 256
_LONGEST_ANSWER_TOKENS = 2_048


def main(weights: str, context_tokens: int, slots: int) -> None:
    """Serve *weights* with *slots* requests at once, each with its own part of *context_tokens*."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    import xllamacpp  # noqa: PLC0415  # once the parent is watched

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
    parameters.cors_origins = "null"
    parameters.verbosity = 1
    try:
        server = xllamacpp.Server(parameters)
    except RuntimeError as error:
        sys.exit(str(error))  # in one line: llama.cpp's own log has said more, and may be written before or after this
    print(f"{LISTENING}{server.listening_address}", flush=True)  # noqa: T201  # this is its protocol
    threading.Event().wait()


def _end_with_the_parent() -> None:
    """End when standard input does. At once: there is nothing to save, and requests that run must not hold it up."""
    while os.read(sys.stdin.fileno(), 4_096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
