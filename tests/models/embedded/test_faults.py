"""A child that can't run, or that dies: what clients are told, what the log keeps, and when it is started again.

The child is the real one; the runtime that it imports is not (see the fixture `runtime`).
"""

import asyncio
import hashlib
import sys

import attrs
import pytest

from gaia_core.messages import UserMessage
from gaia_core.models import ModelError, ModelRequest
from gaia_core.models.embedded import EmbeddedModel, ReplacementLibrary, State, _libraries
from gaia_core.models.embedded._fault import crashed

ALIVE = """
from types import SimpleNamespace
class CommonParams:
    model, sampling = SimpleNamespace(), SimpleNamespace()
class Server:
    listening_address = "http://127.0.0.1:9"
    def __init__(self, parameters): pass
"""
"""A runtime that starts, and never answers."""

GOMP = "libgomp.so.1: cannot open shared object file: No such file or directory"


@pytest.fixture
async def made(noise, tmp_path):
    """Makes embedded models on noise, with a cache of their own."""
    models = []

    def make(**options) -> EmbeddedModel:
        environ = {"GAIA_CACHE": str(tmp_path / "cache")}
        model = EmbeddedModel(noise, slots=1, environ=environ, **{"restart_seconds": 0.001, "libraries": ()} | options)
        models.append(model)
        return model

    yield make
    for model in models:
        await model.aclose()


async def until(model: EmbeddedModel, *phases: str) -> State:
    async with asyncio.timeout(60):
        async for state in model.states():
            if state.phase in phases:
                return state
    raise AssertionError


async def refused(model: EmbeddedModel) -> ModelError:
    with pytest.raises(ModelError) as raised:
        async for _ in model.stream(ModelRequest((UserMessage("Hi"),))):
            pass
    return raised.value


def counted(source: str, folder) -> str:
    """*source*, which adds a line to the file `imports` of *folder* first."""
    return f"open({str(folder / 'imports')!r}, 'a').write('.')\n{source}"


def imports(folder) -> int:
    return len((folder / "imports").read_text())


async def test_a_missing_library_is_named_with_its_package_in_one_line(runtime, made, library, caplog, tmp_path):
    (runtime("") / "xllamacpp.py").unlink()
    (tmp_path / "runtime" / "xllamacpp.abi3.so").write_bytes(library("libmissing.so.7"))  # which the real loader opens
    model = made()

    state = await until(model, "failed")
    error = await refused(model)

    assert state.lasting
    assert "libmissing.so.7 is missing on this system. Install it (Debian: " in state.reason
    assert state.reason in str(error)
    assert (error.kind, error.retryable, error.retry_after) == ("not_ready", False, None)
    (logged,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "libmissing.so.7: cannot open shared object file" in logged
    for said in (str(error), logged):
        assert "Traceback" not in said
        assert "\n" not in said
    assert str(tmp_path) not in str(error)
    assert sys.prefix not in str(error)


async def test_the_package_is_named(runtime, made):
    runtime(f"raise ImportError({GOMP!r})")

    state = await until(made(), "failed")

    assert "(Debian: apt-get install libgomp1; elsewhere: the package that provides libgomp.so.1)" in state.reason


async def test_a_runtime_that_cannot_be_loaded_is_tried_again_after_a_long_while(runtime, made, tmp_path, caplog):
    runtime(counted(f"raise ImportError({GOMP!r})", tmp_path))
    model = made(restart_seconds=0.001)  # so a long while is 0.6 s
    failed = []

    async for state in model.states():
        if state.phase == "failed":
            failed.append(asyncio.get_running_loop().time())
        if len(failed) == 2:
            break

    assert failed[1] - failed[0] >= 0.6
    assert imports(tmp_path) == 2
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1, "what is known is not logged"
    runtime(ALIVE)
    await until(model, "ready")


async def test_nothing_is_fetched_for_a_runtime_that_cannot_be_loaded(runtime, tmp_path):
    runtime(f"raise ImportError({GOMP!r})")
    model = EmbeddedModel(sources=(), libraries=(), environ={"GAIA_CACHE": str(tmp_path / "cache")})
    phases = []
    async for state in model.states():
        phases.append(state.phase)
        if state.phase == "failed":
            break
    await model.aclose()

    assert state.lasting, state
    assert phases == ["idle", "failed"]


async def test_a_request_has_it_looked_at_again_and_is_answered_as_things_are_then(runtime, made, tmp_path):
    runtime(counted(f"raise ImportError({GOMP!r})", tmp_path))
    model = made(restart_seconds=60.0)
    await until(model, "failed")

    still = await asyncio.gather(*(refused(model) for _ in range(5)))
    looked = imports(tmp_path)
    runtime(ALIVE)
    unseen = await refused(model)
    model._look_at = 0.0  # five minutes later, five times the pause after a crash
    seen = await refused(model)
    await until(model, "ready")

    assert looked == 2, "one request looks for all"
    assert all("libgomp1" in str(error) for error in (*still, unseen))
    assert "can't be reached: ConnectionRefused" in str(seen), "it waited, and asked the child that never answers"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "raise ModuleNotFoundError(\"No module named 'xllamacpp'\", name='xllamacpp')",
            "is not installed (pip install",
        ),
        (
            "raise ImportError('/lib/libc.so.6: version `GLIBC_2.99\\' not found (required by /x.so)')",
            "libc.so.6 is too old",
        ),
        ("raise ValueError('what its code raises')", "fails on import"),
        (f"{ALIVE}\ndef Server(p): raise RuntimeError('Failed to init server')", "weights can't be loaded"),
        (f"{ALIVE}\ndef Server(p): raise AttributeError('no such parameter')", "its runtime fails on start"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "SIGILL; this processor lacks an instruction"),
    ],
)
async def test_what_a_restart_cannot_mend(runtime, made, caplog, source, words):
    runtime(source)
    model = made(restart_seconds=1.0)

    state = await until(model, "failed", "crashed")
    error = await refused(model)

    assert (state.phase, state.lasting) == ("failed", True)
    assert words in str(error)
    for said in (str(error), caplog.text):
        assert "Traceback" not in said
        assert "/x.so" not in str(error)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("os.abort()", "SIGABRT"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL; the system may have run out of memory"),
        ("os._exit(3)", "exit code 3"),
        ("raise MemoryError", "not enough memory for it"),
        (
            "sys.stderr.write('ggml_aligned_malloc: insufficient memory\\n'); raise RuntimeError('no')",
            "not enough memory for it",
        ),
    ],
)
async def test_after_a_death_it_restarts_by_itself(runtime, made, caplog, source, words):
    last = "sys.stderr.write('the last words of llama.cpp, from /some/folder\\n'); sys.stderr.flush()"
    runtime(f"import os, signal, sys\n{ALIVE}\ndef Server(p):\n    {last}\n    {source}\n")
    model = made(restart_seconds=60.0)

    state = await until(model, "crashed", "failed")
    error = await refused(model)

    assert state.phase == "crashed"
    assert f"{words}; it restarts in 60 s" in str(error)
    assert (error.kind, error.retryable, error.retry_after) == ("not_ready", True, 61.0)
    assert "/some/folder" not in str(error), "a client reads no paths"
    assert "the last words of llama.cpp, from /some/folder" in caplog.text
    assert "Traceback" not in caplog.text


async def test_when_it_died_too_often_it_is_left_alone(runtime, made, tmp_path):
    runtime(counted(f"import os\n{ALIVE}\ndef Server(p): os.abort()", tmp_path))
    model = made(restart_seconds=0.005)

    state = await until(model, "failed")

    assert state.lasting
    assert state.reason == "it crashed 6 times in a row: its process was ended by SIGABRT"
    assert imports(tmp_path) == 2 * 6  # each time it is loaded to see whether it can be, and then to serve


@pytest.mark.parametrize(("code", "words"), [(0, "exit code 0"), (-99, "signal 99"), (-11, "SIGSEGV")])
def test_an_end_in_words(code, words):
    assert words in crashed(code, ()).words


async def test_what_clients_learn_of_weights_has_no_folder(tmp_path):
    missing = EmbeddedModel(tmp_path / "none.gguf", environ={"GAIA_CACHE": str(tmp_path)})
    state = await until(missing, "failed")
    await missing.aclose()

    assert state.reason == "the weights none.gguf can't be read: No such file or directory"
    assert not state.lasting


# A library in the place of one that the system lacks.


@attrs.frozen
class Brings:
    """A source of these bytes."""

    data: bytes
    label: str = "a source"

    async def fetch(self, part, size, told) -> None:
        part.write_bytes(self.data)


@pytest.fixture
def replacement(tmp_path, library):
    """One for libmissing.so.7."""
    data = library()
    digest = hashlib.sha256(data).hexdigest()
    return ReplacementLibrary("libmissing.so.7", "a spare", digest, len(data), "nobody's", (Brings(data),))


NEEDS = f"""
import ctypes
try:
    ctypes.CDLL("libmissing.so.7")
except OSError as error:
    raise ImportError(str(error))
{ALIVE}
"""
"""A runtime that needs it, and then is well."""


async def test_a_missing_library_is_replaced_without_root(runtime, made, replacement, caplog, tmp_path):
    runtime(NEEDS)
    model = made(libraries=(replacement,))

    await until(model, "ready")

    assert "libmissing.so.7 is missing on this system; a spare is used in its place" in caplog.text
    assert (tmp_path / "cache" / "libraries" / replacement.sha256 / "libmissing.so.7").is_file()


async def test_nothing_is_replaced_that_the_system_has(runtime, made, replacement, tmp_path):
    runtime(ALIVE)

    await until(made(libraries=(replacement,)), "ready")

    assert not (tmp_path / "cache").exists()


async def test_a_replacement_that_was_tampered_with_is_fetched_again(runtime, made, replacement, tmp_path):
    kept = tmp_path / "cache" / "libraries" / replacement.sha256 / "libmissing.so.7"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(bytes(replacement.size))
    runtime(NEEDS)

    await until(made(libraries=(replacement,)), "ready")

    assert hashlib.sha256(kept.read_bytes()).hexdigest() == replacement.sha256


async def test_a_replacement_that_cannot_be_fetched(runtime, made, replacement, tmp_path):
    runtime(NEEDS)
    wrong = attrs.evolve(replacement, sources=(Brings(b"other bytes"),))

    state = await until(made(libraries=(wrong,)), "failed")

    assert "libmissing.so.7 is missing on this system. Install it" in state.reason
    assert "A replacement, which needs no root, could not be fetched" in state.reason
    assert str(tmp_path) not in state.reason
    assert state.lasting


def test_what_can_be_replaced():
    for machine in ("x86_64", "aarch64"):
        (found,) = _libraries.replacements("linux", machine)
        assert found.library == "libgomp.so.1"
        assert "Apache License, Version 2.0" in found.notice
    assert _libraries.replacements("linux", "riscv64") == ()
    assert _libraries.replacements("darwin", "arm64") == ()
