"""What the dependencies' extension modules expect of the system, and what is said where that is missing."""

import re
import struct
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from gaia_core.native_libraries import DEBIAN_PACKAGES, debian_package, loader_fault

ROOT = Path(__file__).parents[2]

ESSENTIAL = ("libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libpthread.so.0", "librt.so.1", "libstdc++.so.6")
"""What every Debian has: glibc (with libgcc-s1, which it needs), and libstdc++6, which apt needs."""


def needed(path: Path) -> set[str]:
    """The libraries that an ELF file of 64 bits needs (DT_NEEDED)."""
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        return set()
    table, size, count = *struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<IIQQQQ", data, table + n * size) for n in range(count)]
    entries = []
    for kind, _, offset, _, _, length in segments:
        if kind == 2:
            entries = list(struct.iter_unpack("<QQ", data[offset : offset + length // 16 * 16]))
    (names,) = (value for tag, value in entries if tag == 5)
    (start,) = (
        offset + names - address
        for kind, _, offset, address, _, length in segments
        if kind == 1 and address <= names < address + length
    )
    offsets = [start + value for tag, value in entries if tag == 1]
    return {data[at : data.index(b"\0", at)].decode() for at in offsets}


def expected() -> dict[str, set[str]]:
    """What each pinned dependency of those installed here needs at run time, of the system and beside its loader."""
    found: dict[str, set[str]] = {}
    for name in re.findall(r"^([a-z0-9._-]+)==", (ROOT / "requirements" / "runtime.txt").read_text(), re.MULTILINE):
        try:
            files = distribution(name).files or []
        except PackageNotFoundError:  # for another system
            continue
        paths = [Path(str(file.locate())) for file in files if re.search(r"\.so(\.|$)", file.name)]
        names = set().union(*map(needed, paths)) - {path.name for path in paths}
        found[name] = {each for each in names if not each.startswith("ld-linux")}
    return found


def test_what_dependencies_need_of_the_system_is_known():
    """A new one needs its Debian package in DEBIAN_PACKAGES, and in the README when a bare Debian has it not."""
    found = expected()
    lacking = {name: names.difference(ESSENTIAL) for name, names in found.items()}

    assert set().union(*found.values()) <= {library for library, _ in DEBIAN_PACKAGES}
    assert {name: names for name, names in lacking.items() if names} == {"xllamacpp": {"libgomp.so.1"}}
    assert "apt-get install libgomp1" in (ROOT / "README.md").read_text()


SO = "/home/somebody/.venv/lib/python3.13/site-packages/fast/fast.abi3.so"


@pytest.mark.parametrize(
    ("text", "library", "words"),
    [
        (
            "libgomp.so.1: cannot open shared object file: No such file or directory",
            "libgomp.so.1",
            "libgomp.so.1 is missing on this system. Install it (Debian: apt-get install libgomp1; elsewhere: ",
        ),
        (
            "libfoo.so.2: cannot open shared object file: No such file or directory",
            "libfoo.so.2",
            "(Debian: the package that apt-file search libfoo.so.2 names; elsewhere: the package that ",
        ),
        (
            f"Error loading shared library libgcc_s.so.1: No such file or directory (needed by {SO})",
            "libgcc_s.so.1",
            "libgcc_s.so.1 is missing on this system.",
        ),
        (
            f"dlopen({SO}, 0x0002): Library not loaded: @rpath/libomp.dylib Referenced from: {SO} Reason: tried: no",
            "libomp.dylib",
            "libomp.dylib is missing on this system.",
        ),
        (
            f"/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by {SO})",
            "",
            "this system's libc.so.6 is too old: GLIBC_2.38 is needed",
        ),
        (
            "DLL load failed while importing fast: The specified module could not be found.",
            "",
            "Install the Microsoft Visual C++ Redistributable",
        ),
        (f"{SO}: failed to map segment from shared object", "", "mounted noexec"),
        (f"{SO}: wrong ELF class: ELFCLASS32", "", "for another kind of machine"),
        (
            f"dlopen({SO}): tried: '{SO}' (mach-o file, but is an incompatible architecture)",
            "",
            "another kind of machine",
        ),
        ("DLL load failed while importing fast: %1 is not a valid Win32 application.", "", "another kind of machine"),
        (f"{SO}: undefined symbol: PyFloat_Pack8", "", "this system's loader refuses its native code"),
        (f"Error relocating {SO}: __memcpy_chk: symbol not found", "", "this system's loader refuses its native code"),
    ],
)
def test_what_a_loader_says_in_words(text, library, words):
    fault = loader_fault(text)

    assert fault is not None
    assert fault.library == library
    assert words in fault.words
    assert "/home" not in fault.words


@pytest.mark.parametrize("text", ["No module named 'fast'", "cannot import name 'x' from 'y' (/home/y.py)", ""])
def test_other_import_errors_are_not_the_loaders(text):
    assert loader_fault(text) is None


def test_a_library_that_is_missing_here_is_named_by_the_real_loader():
    import ctypes

    with pytest.raises(OSError, match="libnowhere") as raised:
        ctypes.CDLL("libnowhere.so.9")

    assert sys.platform != "linux" or loader_fault(str(raised.value)).library == "libnowhere.so.9"


def test_packages_of_libraries():
    assert debian_package("libgomp.so.1") == "libgomp1"
    assert debian_package("libnowhere.so.9") is None
