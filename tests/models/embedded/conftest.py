"""Shared libraries for the system's own loader, made without a compiler."""

import os
import struct
from collections.abc import Callable

import pytest

_MACHINES = {"x86_64": 62, "aarch64": 183}
_ENTRIES = {"needed": 1, "hash": 4, "strtab": 5, "symtab": 6, "strsz": 10, "syment": 11}
_PAGE = 0x10000


def _shared_library(*needed: str) -> bytes:
    """A 64-bit ELF shared library without code or symbols, which needs the libraries *needed*.

    The loader maps it, and then looks for what it needs: what it says is its own.
    """
    names = b"\0" + b"".join(name.encode() + b"\0" for name in needed)
    offsets = [1 + sum(len(name) + 1 for name in needed[:n]) for n in range(len(needed))]
    symbols, buckets = bytes(24), struct.pack("<4I", 1, 1, 0, 0)
    at = 64 + 3 * 56
    places = {"symtab": at, "hash": at + len(symbols), "strtab": at + len(symbols) + len(buckets)}
    dynamic_at = (places["strtab"] + len(names) + 15) // 16 * 16
    values = [("needed", offset) for offset in offsets] + list(places.items()) + [("strsz", len(names)), ("syment", 24)]
    dynamic = b"".join(struct.pack("<QQ", _ENTRIES[name], value) for name, value in values) + bytes(16)
    size = dynamic_at + len(dynamic)

    machine = _MACHINES[os.uname().machine]
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, machine, 1, 0, 64, 0, 0, 64, 56, 3, 64, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 6, 0, 0, 0, size, size, _PAGE)
    found = struct.pack("<IIQQQQQQ", 2, 6, dynamic_at, dynamic_at, dynamic_at, len(dynamic), len(dynamic), 8)
    # Without this, its stack would have to be executable, which glibc 2.41 refuses.
    stack = struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)
    return (header + load + found + stack + symbols + buckets + names).ljust(dynamic_at, b"\0") + dynamic


@pytest.fixture
def library() -> Callable[..., bytes]:
    """Makes shared libraries: see `_shared_library`."""
    return _shared_library
