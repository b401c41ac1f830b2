"""What a tool gives beside text: images, which a model that takes them is shown.

    return ToolOutput("The page, 1280 x 720.", (Image("image/png", png),))

A tool returns text, a value, or a `ToolOutput`. Its images are recorded with the call's end. A model that takes images
receives them behind the results of the step; any other one receives words in their place.
"""

import base64
from collections.abc import Iterable
from typing import Any

import msgspec

from gaia_core.frozen_types import refusal

IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""The types that model servers take (source: OpenAI's guide to images and vision)."""

TAKES_NONE = "this model takes no images"

MOST_IMAGE_BYTES = 4 * 1024 * 1024
"""Bytes of one image: most servers refuse a larger one (source: Anthropic API, vision: 5 MB, as base64)."""
MOST_RESULT_BYTES = 8 * 1024 * 1024
"""Bytes of all images of one result, which are one record of the journal."""
MOST_IMAGES = 16
"""Images of one result."""


class Image(msgspec.Struct, frozen=True, gc=False):
    """An image of a tool's result: its media type, such as `image/png`, and its bytes. Raises ConfigError."""

    media_type: str
    data: bytes

    def __post_init__(self) -> None:
        if not (type(self.media_type) is str and type(self.data) is bytes):
            raise refusal(self)

    def __repr__(self) -> str:
        return f"Image({self.media_type!r}, {_size(len(self.data))})"  # its bytes belong in no log

    @property
    def url(self) -> str:
        """A `data:` URL, as chat endpoints and pages take it."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode()}"

    @property
    def words(self) -> str:
        """What the text of a result says in its place: `[image, 120 KB, image/png]`."""
        return f"[image, {_size(len(self.data))}, {self.media_type}]"

    def words_with(self, why: str) -> str:
        """The same, with why it isn't shown: `[image, 120 KB, image/png: this model takes no images]`."""
        return f"{self.words[:-1]}: {why}]"


class ToolOutput(msgspec.Struct, frozen=True, gc=False):
    """A tool's result that has *images* beside its *text*.

    At most 16 images, of 4 MiB each and 8 MiB together, of the types PNG, JPEG, GIF and WebP; the text says which were
    left out, and why. Raises ConfigError.
    """

    text: str
    images: tuple[Image, ...] = ()

    def __post_init__(self) -> None:
        images: Any = self.images
        if not (type(self.text) is str and type(images) is tuple and all(type(one) is Image for one in images)):
            raise refusal(self)


def within_limits(output: ToolOutput) -> ToolOutput:
    """*output* with the images that are kept, each named in its text, and those that are not named there with why."""
    kept: list[Image] = []
    text, held = output.text, 0
    for image in output.images:
        why = ""
        if image.media_type not in IMAGE_TYPES:
            why = "not of a type that models take"
        elif len(image.data) > MOST_IMAGE_BYTES:
            why = f"left out, larger than {_size(MOST_IMAGE_BYTES)}"
        elif len(kept) >= MOST_IMAGES:
            why = f"left out, a result has {MOST_IMAGES} images at most"
        elif held + len(image.data) > MOST_RESULT_BYTES:
            why = f"left out, the images of a result have {_size(MOST_RESULT_BYTES)} at most"
        else:
            kept.append(image)
            held += len(image.data)
        if why:
            said = image.words_with(why)
            text = text.replace(image.words, said, 1) if image.words in text else _with_line(text, said)
    return ToolOutput(naming(text, tuple(kept)), tuple(kept))


def unshown(text: str, images: Iterable[Image], why: str = TAKES_NONE) -> str:
    """*text*, which names *images*, with *why* they are not shown."""
    for image in images:
        text = text.replace(image.words, image.words_with(why), 1)
    return text


def naming(text: str, images: tuple[Image, ...]) -> str:
    """*text*, in which each of *images* is named, at its end where it is not yet."""
    for words in dict.fromkeys(image.words for image in images):
        missing = sum(image.words == words for image in images) - text.count(words)
        for _ in range(missing):
            text = _with_line(text, words)
    return text


def _with_line(text: str, line: str) -> str:
    return f"{text}\n{line}" if text else line


def _size(size: int) -> str:
    if size < 1_000:
        return f"{size} bytes"
    return f"{size / 1_000:.0f} KB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"
