"""What the system's dynamic loader says when a native library can't be loaded, as words for people.

A wheel's extension module may need libraries that the system has to bring. When one is missing, Python raises an
ImportError with the loader's own text: it names the library and paths of this machine, but not what to install.

The texts are those of glibc (elf/dl-load.c, elf/dl-version.c), musl (ldso/dynlink.c), macOS's dyld, and CPython on
Windows (Python/dynload_win.c).
"""

import re

import msgspec

DEBIAN_PACKAGES = (
    ("libatomic.so.1", "libatomic1"),
    ("libc.so.6", "libc6"),
    ("libdl.so.2", "libc6"),
    ("libgcc_s.so.1", "libgcc-s1"),
    ("libgomp.so.1", "libgomp1"),
    ("libm.so.6", "libc6"),
    ("libpthread.so.0", "libc6"),
    ("librt.so.1", "libc6"),
    ("libstdc++.so.6", "libstdc++6"),
    ("libz.so.1", "zlib1g"),
)
"""Libraries that extension modules expect of the system, and the Debian packages that have them."""

_MISSING = re.compile(
    r"(?P<glibc>[^\s:]+): cannot open shared object file"
    r"|Error loading shared library (?P<musl>[^\s:]+):"
    r"|Library not loaded: (?P<dyld>\S+)"
)
_TOO_OLD = re.compile(r"(?P<library>[^\s:]+): version [`'](?P<version>[^']+)' not found")
_OTHER_KIND = re.compile(
    r"wrong ELF class|invalid ELF header|file too short|incompatible architecture|slice is not valid mach-o"
    r"|not a valid Win32 application|Exec format error"
)
_REFUSED = re.compile(r"undefined symbol|symbol not found|Symbol not found|static TLS block|executable stack|dlopen\(")


class LoaderFault(msgspec.Struct, frozen=True, gc=False):
    """Why a native library can't be loaded. *words* say what to do, and name no path of this machine.

    *library* is the file name of the library that is missing on this system; "": none is.
    """

    words: str
    library: str = ""


def loader_fault(text: str) -> LoaderFault | None:
    """What *text*, an ImportError's, says of a native library; None when it is not the loader's."""
    if found := _MISSING.search(text):
        library = _file_name(next(name for name in found.groups() if name))
        return LoaderFault(f"{library} is missing on this system. {_install(library)}", library)
    if found := _TOO_OLD.search(text):
        library, version = _file_name(found["library"]), found["version"]
        return LoaderFault(f"this system's {library} is too old: {version} is needed, of a newer system release")
    if "DLL load failed" in text and not _OTHER_KIND.search(text):
        return LoaderFault(
            "a DLL that it needs is missing. Install the Microsoft Visual C++ Redistributable (MSVCP140, VCRUNTIME140, "
            "VCOMP140)"
        )
    if "failed to map segment" in text:
        return LoaderFault("its file can't be mapped as code. Is it on a file system that is mounted noexec?")
    if _OTHER_KIND.search(text):
        return LoaderFault("its file is damaged or for another kind of machine. Install it again")
    if _REFUSED.search(text):
        return LoaderFault("this system's loader refuses its native code")
    return None


def debian_package(library: str) -> str | None:
    """The Debian package that has *library*; None: unknown here."""
    return next((package for name, package in DEBIAN_PACKAGES if name == library), None)


def _install(library: str) -> str:
    package = debian_package(library)
    debian = (
        f"apt-get install {package}" if package is not None else f"the package that apt-file search {library} names"
    )
    return f"Install it (Debian: {debian}; elsewhere: the package that provides {library})"


def _file_name(path: str) -> str:
    return path.rpartition("/")[2]
