"""What several rooms of tests need: a real model file of noise, and a real PostgreSQL server on loopback.

Tests run in several processes at once (pytest-xdist), in random order. A session fixture exists once in each process;
what they share on disk is made under a lock.
"""

import asyncio
import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from benchmarks.postgres import NotInstalledError, reserved_port, running_postgres
from gaia_core.models.embedded import libraries_folder, load_runtime, replacements

pytest_plugins = (
    "tests.plugins.outages",
    "tests.plugins.parallel",
    "tests.plugins.slow_machine",
    "tests.plugins.unclosed_resources",
)


class LoopClock:
    """The clock of a test's event loop, which the test can move on; what is due by then runs in the next iteration.

    So a test says what happens after a minute of silence, and needs neither the minute nor a time-out so short that a
    slow machine meets it by accident.
    """

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._ahead = 0.0

    def __call__(self) -> float:
        return self._time() + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += seconds

    async def sleep(self, seconds: float) -> None:
        """Advance by *seconds*, and let what is due by then happen."""
        self.advance(seconds)
        for _ in range(3):  # the timers run behind this task, and what they wake behind them
            await asyncio.sleep(0)


@pytest.fixture
async def loop_clock(monkeypatch: pytest.MonkeyPatch) -> LoopClock:
    loop = asyncio.get_running_loop()
    clock = LoopClock(loop.time)
    monkeypatch.setattr(loop, "time", clock)
    return clock


# How long an example takes depends on the machine, and says nothing about the code.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
# What `python -m tests.reverts` runs fails often, and nobody reads the smallest example.
hypothesis.settings.register_profile(
    "reverts",
    hypothesis.settings.get_profile("any machine"),
    max_examples=30,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
)
hypothesis.settings.load_profile("any machine")


def pytest_configure() -> None:
    # A shell that starts the tests in the background makes them deaf to Ctrl+C; some of them interrupt themselves.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def at_a_stack_of(frames: int, function: Callable[[], Any]) -> Any:
    return function() if frames <= 0 else at_a_stack_of(frames - 1, function)


@pytest.fixture
def on_a_full_stack() -> Callable[[Callable[[], Any]], Any]:
    """Call a function where about half of the frames that Python allows are used: deeper than any caller of ours is."""
    return lambda function: at_a_stack_of(450, function)


@pytest.fixture(scope="session")
def libraries():
    """For a machine that lacks a library of the embedded model's: its replacement, fetched once, for all processes."""
    folder = libraries_folder(os.environ)
    library = asyncio.run(load_runtime(folder, replacements(), lambda state: None))
    with pytest.MonkeyPatch.context() as patch:
        if library is not None:
            patch.setenv("LD_LIBRARY_PATH", str(library.file(folder).path.parent))
        yield


@pytest.fixture(scope="session")
def noise(libraries, tmp_path_factory) -> Path:
    """A random GGUF of 300 KB: it loads in a blink and answers with noise, in real processes over real HTTP.

    Its vocabulary is gpt2's bytes, because grammars fail with a sentencepiece one. Its output leans to ASCII and to
    the quote, so that the noise is valid UTF-8 and its strings end soon.
    """
    path = tmp_path_factory.mktemp("noise") / "noise.gguf"
    _write_noise(path)
    return path


def _write_noise(path: Path, width: int = 64, context: int = 16_384) -> None:
    import gguf
    import numpy as np

    random = np.random.default_rng(0)
    tokens = [*_byte_tokens(), "ab", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    size, wide = len(tokens), 2 * width

    def noise(*shape: int):
        return (random.standard_normal(shape) * 0.05).astype(np.float32)

    # Every token has the same strong first coordinate, so its column in the output is a bias.
    embedding, output = noise(size, width), noise(size, width)
    embedding[:, 0] = 10.0
    output[:, 0] = [_bias(token) for token in tokens]
    ones = np.ones(width, np.float32)

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(wide)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // 2)
    writer.add_vocab_size(size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * 257 + [3] * 3)  # normal, control
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(257)
    writer.add_eos_token_id(259)
    writer.add_add_bos_token(False)
    writer.add_chat_template(
        "{% for m in messages %}<|im_start|>{{m.role}}\n{{m.content}}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
    )
    for name, tensor in {
        "token_embd": embedding,
        "output_norm": ones,
        "output": output,
        "blk.0.attn_norm": ones,
        "blk.0.attn_q": noise(width, width),
        "blk.0.attn_k": noise(width // 2, width),
        "blk.0.attn_v": noise(width // 2, width),
        "blk.0.attn_output": noise(width, width),
        "blk.0.ffn_norm": ones,
        "blk.0.ffn_gate": noise(wide, width),
        "blk.0.ffn_up": noise(wide, width),
        "blk.0.ffn_down": noise(width, wide),
    }.items():
        writer.add_tensor(f"{name}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _byte_tokens() -> list[str]:
    """gpt2's 256 byte tokens: printable bytes are themselves, the others follow from U+0100 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (chr(code) for code in range(256, 512))
    return [chr(byte) if byte in plain else next(others) for byte in range(256)]


def _bias(token: str) -> float:
    if token in ('"', "}"):
        return 0.3
    return 0.0 if token == "<|im_end|>" or (token.isascii() and not token.startswith("<|")) else -10.0


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    """Put a module `xllamacpp` in the place of the real one, for the embedded model's child. Gives its folder."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH")))))

    def put(source: str) -> Path:
        (folder / "xllamacpp.py").write_text(source)
        return folder

    return put


# PostgreSQL.


@pytest.fixture(scope="session")
def postgres():
    """A server for all tests that only need its database."""
    yield from running_server()


@pytest.fixture
def own_postgres():
    """A server that the test may stop and start."""
    yield from running_server()


def running_server():
    try:
        with reserved_port() as port, running_postgres(port) as server:
            yield server
    except NotInstalledError as error:
        pytest.fail(str(error))


@pytest.fixture(scope="session")
def numbers():
    return itertools.count()


@pytest.fixture
def children(monkeypatch) -> "asyncio.Queue[asyncio.subprocess.Process]":
    """The child processes that asyncio starts from now on."""
    started: asyncio.Queue[asyncio.subprocess.Process] = asyncio.Queue()
    start = asyncio.create_subprocess_exec

    async def started_and_known(*arguments, **options):
        process = await start(*arguments, **options)
        started.put_nowait(process)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", started_and_known)
    return started
