"""The text of a PDF, read in a process of its own: a file made to burn time or memory burns that of a child which is
ended, and stops nobody else's turn.

Run as a file, which imports nothing of this package, it reads a PDF from stdin and writes its text to stdout; exit code
3: it can't be read, and stderr says why in one line.
"""

import asyncio
import io
import os
import sys
from contextlib import suppress
from pathlib import Path

MAX_CHARS = 1_000_000
_SECONDS = 20.0
_MEMORY_BYTES = 1 << 30
_BROKEN = 3
_WORDS_CHARS = 200


class PdfError(Exception):
    """A PDF whose text can't be had; says why."""


class PdfReader:
    """Reads PDFs for one application, two at a time."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._places = asyncio.Semaphore(2)

    async def text(self, data: bytes) -> str:
        """The text of all pages, parted by form feeds; at most a million characters. Raises PdfError."""
        # Here, because the child runs this file, too, and does without.
        from gaia_core.child_environ import PYTHON, child_environ  # noqa: PLC0415
        from gaia_core.uninterrupted import uninterrupted  # noqa: PLC0415

        async with self._places:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-I", str(Path(__file__)),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                env=child_environ(os.environ, *PYTHON),
            )  # fmt: skip
            try:
                async with asyncio.timeout(self._seconds):
                    out, words = await child.communicate(data)
            except TimeoutError:
                raise PdfError(f"its text could not be had within {self._seconds:g} s") from None
            finally:
                if child.returncode is None:
                    with suppress(ProcessLookupError):
                        child.kill()
                    await uninterrupted(child.communicate())  # read to the end, or its pipes stay open
        if child.returncode == _BROKEN:
            raise PdfError(words.decode("utf-8", "replace").strip()[:_WORDS_CHARS] or "it is broken")
        if child.returncode:
            raise PdfError("its text needs too much memory or time")
        return out.decode("utf-8", "replace")


def _main() -> None:
    _bound()
    import logging  # noqa: PLC0415

    import pypdf  # noqa: PLC0415

    logging.disable()
    parts: list[str] = []
    chars = 0
    try:
        reader = pypdf.PdfReader(io.BytesIO(sys.stdin.buffer.read()))
        if reader.is_encrypted and not reader.decrypt(""):
            _fail("it is encrypted")
        for page in reader.pages:
            parts.append(page.extract_text())
            chars += len(parts[-1])
            if chars > MAX_CHARS:
                break
    except MemoryError:
        raise SystemExit(4) from None
    except Exception as error:  # noqa: BLE001  # whatever a stranger's file makes of the reader
        _fail(f"it can't be read ({type(error).__name__})")
    sys.stdout.buffer.write("\f".join(parts)[:MAX_CHARS].encode("utf-8", "replace"))


def _fail(words: str) -> None:
    sys.stderr.write(words)
    raise SystemExit(_BROKEN)


def _bound() -> None:
    """Bound this process's memory and time, where the system can."""
    try:
        import resource  # noqa: PLC0415
    except ImportError:  # Windows: the parent ends it in time
        return
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (int(_SECONDS), int(_SECONDS) + 1))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))


if __name__ == "__main__":
    _main()
