"""System libraries that the runtime needs and that bare machines lack, and what can replace them without root.

A bare Debian has no libgomp.so.1, which the runtime's wheel expects. LLVM's OpenMP implements the same interface
(source: openmp/runtime/src/kmp_gsupport.cpp and exports_so.txt of LLVM), and llama.cpp computes the same with it. It
comes in a Python package: pip fetches the wheel by its hash, one file of it is kept in the user's cache, nothing is
installed or imported, and only the child finds it there (LD_LIBRARY_PATH). The system's own library is preferred.
"""

import platform
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import msgspec

from gaia_core.frozen_types import made_once, typed
from gaia_core.models.embedded._child_supervisor import Child
from gaia_core.models.embedded._download import Download, DownloadError, download, in_place
from gaia_core.models.embedded._fault import ChildError, ChildFault
from gaia_core.models.embedded._state import State
from gaia_core.models.embedded._weight_sources import Package, Packages, WeightSource
from gaia_core.native_libraries import debian_package


@attrs.frozen(field_transformer=typed)
class ReplacementLibrary:
    """A file that can be loaded as *library* on this machine; see `Download`. *notice* is its licence's."""

    __attrs_pre_init__ = made_once

    library: str
    name: str
    sha256: str
    size: int
    notice: str
    sources: tuple[WeightSource, ...]

    def file(self, folder: Path) -> Download:
        """It, as a file of the cache *folder*, under the name that the loader looks for."""
        return Download(self.name, self.sha256, self.size, folder / self.sha256 / self.library)

    def __str__(self) -> str:
        system = debian_package(self.library)
        hint = f" (Debian's own: apt-get install {system})" if system is not None else ""
        return f"{self.library} is missing on this system; {self.name} is used in its place{hint}"


def _llvm_openmp(sha256: str, size: int, wheel_sha256: str, wheel_size: int) -> ReplacementLibrary:
    wheel = Package("cmeel-libomp", "21.1.8", wheel_sha256, "cmeel.prefix/lib/libgomp.so.1", wheel_size)
    return ReplacementLibrary(
        library="libgomp.so.1",
        name="LLVM's OpenMP 21.1.8 (cmeel-libomp)",
        sha256=sha256,
        size=size,
        notice=(
            "LLVM's OpenMP runtime, licensed under the Apache License, Version 2.0, with LLVM Exceptions "
            "(https://llvm.org/LICENSE.txt)"
        ),
        sources=(Packages((wheel,)),),
    )


_LLVM_OPENMP = (
    (
        "x86_64",
        _llvm_openmp(
            "f5435a0a027ab60d956584904586edf44dedcad926664a2495a76ce00c10f2f2",
            1_424_480,
            "b8729140db049e594d4bd6fe7d716a934d39b4796062c084015a9ea19efc5c27",
            2_219_512,
        ),
    ),
    (
        "aarch64",
        _llvm_openmp(
            "6b57b9c07826eb2bf4ca02c306574ecc0190169c80ccfbe040fc6962eea7bc72",
            1_405_712,
            "3505623bd4466eb71314e58c8137bef5167c39a8351d246321c2fc1d0adb11e6",
            2_039_547,
        ),
    ),
)


def replacements(system: str = sys.platform, machine: str | None = None) -> tuple[ReplacementLibrary, ...]:
    """What there is for a machine, by default this one."""
    if system != "linux":
        return ()
    machine = platform.machine() if machine is None else machine
    return tuple(library for of, library in _LLVM_OPENMP if of == machine)


async def load_runtime(
    folder: Path, known: tuple[ReplacementLibrary, ...], told: Callable[[State], None] | None = None
) -> ReplacementLibrary | None:
    """See whether the runtime can be loaded here, and which of *known* it needs for that; None: none.

    *folder* is their cache. What is not there is fetched, and *told* is called with the progress; with None for *told*
    nothing is fetched. Raises ChildError.
    """
    try:
        await Child.check()
    except ChildError as error:
        fault = error.fault
    else:
        return None
    replacement = next((one for one in known if one.library == fault.library), None)
    if replacement is None:
        raise ChildError(fault)
    file = replacement.file(folder)
    if not await in_place(file):
        if told is None:
            raise ChildError(_and(fault, "`gaia model pull` fetches a replacement, which needs no root"))
        try:
            await download(file, replacement.sources, told)
        except DownloadError:  # logged, source by source
            words = "A replacement, which needs no root, could not be fetched; the log says why"
            raise ChildError(_and(fault, words)) from None
    await Child.check(file.path.parent)
    return replacement


def _and(fault: ChildFault, words: str) -> ChildFault:
    """*fault* with more to say."""
    return msgspec.structs.replace(fault, words=f"{fault.words}. {words}")
