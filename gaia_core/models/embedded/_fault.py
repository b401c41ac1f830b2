"""Fault: why the runtime can't be loaded, or why the child ended. In words for a client, and with more for the log."""

import os
import signal

import msgspec

from gaia_core.errors import GaiaError
from gaia_core.native_libraries import loader_fault

NOT_INSTALLED = (
    "its runtime is not installed (pip install 'gaia-server-core[embedded]'). There are wheels for Linux with glibc, "
    "macOS, and Windows on x86-64; elsewhere start a model server such as Lemonade or Ollama"
)

_DETAIL_CHARS = 1_500
_OUT_OF_MEMORY = (
    "bad_alloc",
    "MemoryError",
    "insufficient memory",
    "failed to allocate",
    "Cannot allocate memory",
    "Resource temporarily unavailable",
)
_MEMORY_WORDS = "there is not enough memory for it"
_SIGNALS = (
    ("SIGILL", "this processor lacks an instruction that its runtime needs, such as AVX2"),
    ("SIGKILL", "the system may have run out of memory"),
)
# The exit code of a process that Windows ends is an NTSTATUS.
_WINDOWS = (
    (0xC000001D, "SIGILL"),
    (0xC0000005, "SIGSEGV"),
    (0xC0000017, "SIGKILL"),
)


class ChildFault(msgspec.Struct, frozen=True, gc=False):
    """*words* are for clients: what happened and what to do, with no path of this machine. *detail* is for the log.

    A *lasting* fault is not mended by a restart. An *unloadable* runtime is one, and it costs little to look again.
    *library* is the file name of the system library that it lacks; "": none.
    """

    words: str
    detail: str = ""
    lasting: bool = False
    unloadable: bool = False
    library: str = ""

    @property
    def logged(self) -> str:
        """All of it, on one line."""
        return f"{self.words} [{self.detail}]" if self.detail else self.words


class ChildError(GaiaError):
    """The child can't load its runtime, did not start, or ended by itself: *fault* says why."""

    def __init__(self, fault: ChildFault) -> None:
        super().__init__(fault.words)
        self.fault = fault


def unloadable(text: str) -> ChildFault:
    """The runtime's module can't be imported: *text* is the exception's."""
    if "No module named 'xllamacpp'" in text:
        return ChildFault(NOT_INSTALLED, lasting=True, unloadable=True)
    found = loader_fault(text)
    words = found.words if found is not None else "it fails on import; install xllamacpp again"
    return ChildFault(
        f"its runtime can't be loaded: {words}",
        _cut(text),
        lasting=True,
        unloadable=True,
        library=found.library if found is not None else "",
    )


def refused(text: str, last: tuple[str, ...]) -> ChildFault:
    """llama.cpp did not take the weights: *text* is the exception's, *last* are its log's last lines."""
    detail = _cut(" / ".join((*last, text)))
    if _out_of_memory((*last, text)):
        return ChildFault(_MEMORY_WORDS, detail)
    words = (
        "its weights can't be loaded: the file is damaged, or of a kind that llama.cpp does not know. Replace it "
        "or remove it (the server's log names it), and start the server again"
    )
    return ChildFault(words, detail, lasting=True)


def failed(text: str, last: tuple[str, ...]) -> ChildFault:
    """The runtime raised another exception than for weights: *text* names it, *last* are its log's last lines."""
    detail = _cut(" / ".join((*last, text)))
    if _out_of_memory((*last, text)):
        return ChildFault(_MEMORY_WORDS, detail)
    return ChildFault("its runtime fails on start; install gaia-server-core[embedded] again", detail, lasting=True)


def crashed(code: int, last: tuple[str, ...]) -> ChildFault:
    """The child ended with *code*, as `subprocess` gives it; *last* are the last lines that it wrote."""
    name = _signal_name(code)
    if not name:
        words = f"its process ended with exit code {code}"
    else:
        why = next((f"; {why}" for signal_name, why in _SIGNALS if signal_name == name), "")
        words = f"its process was ended by {name}{why}"
    if _out_of_memory(last):
        words = f"{words}; {_MEMORY_WORDS}"
    return ChildFault(words, _cut(" / ".join(last)), lasting=name == "SIGILL")


def _signal_name(code: int) -> str:
    """The name of the signal that *code* stands for; "": none."""
    if os.name != "posix":
        return next((name for status, name in _WINDOWS if status == code & 0xFFFFFFFF), "")
    if code >= 0:
        return ""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _out_of_memory(last: tuple[str, ...]) -> bool:
    return any(words in line for line in last for words in _OUT_OF_MEMORY)


def _cut(text: str) -> str:
    return text if len(text) <= _DETAIL_CHARS else f"…{text[-_DETAIL_CHARS:]}"
