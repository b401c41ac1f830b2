"""Parts of a message's content as clients send them → parts of the core, checked.

Text, images, audio, files and refusals exist in every protocol, under its own names (`PartTypes`) and in fields of its
own (`PartPaths`). What the agent's model makes of them comes later: see `_part_converter`.
"""

import base64
import binascii
import re
from typing import TypeAlias

import attrs
import msgspec

from gaia_core.messages import AudioPart, Content, ImagePart, ImageURL, InputAudio, Part
from gaia_http.request._fields import invalid_at, shortened

_DATA_URL = re.compile(r"data:[a-zA-Z0-9.+-]+/[a-zA-Z0-9.+-]+(?:;[a-zA-Z0-9=._-]+)*;base64,", re.ASCII)
_WEB = ("http://", "https://")


@attrs.frozen
class PartTypes:
    """What a protocol calls the types of parts."""

    text: str
    image: str
    audio: str
    file: str
    refusal: str

    def allowed(self, role: str) -> tuple[str, ...]:
        """The types that a message of *role* may have."""
        if role == "user":
            return (self.text, self.image, self.audio, self.file)
        return (self.text, self.refusal) if role == "assistant" else (self.text,)


class PartPaths(msgspec.Struct, frozen=True, gc=False):
    """Where a part stands in its request. *type* is what the protocol calls its type, *content* the path of the object
    that holds its fields, *data* that of its URL or base64 data, *file_id* that of an upload's id.
    """

    path: str
    type: str = ""
    content: str = ""
    data: str = ""
    file_id: str = ""


class PlacedPart(msgspec.Struct, frozen=True, gc=False):
    """A part, and where it stands."""

    part: Part
    paths: PartPaths


PlacedContent: TypeAlias = str | tuple[PlacedPart, ...]


def content_of(placed: PlacedContent) -> Content:
    """*placed* as a message has it."""
    return placed if isinstance(placed, str) else tuple([each.part for each in placed])


def check_part_type(path: str, sent: str, allowed: tuple[str, ...], role: str) -> None:
    """Raise ApiError 400 for a part at *path* whose type is not *allowed* in a message of *role*."""
    if sent not in allowed:
        words = f"{shortened(sent)!r} is not allowed in a message of role {role!r}; it may be {' or '.join(allowed)}"
        raise invalid_at(f"{path}.type", words, "unsupported_content_type")


def image_part(path: str, url: str, detail: str | None) -> ImagePart:
    """The image whose URL stands at *path*: data, or of the web. Raises ApiError 400.

    An endpoint might open `file:` and the like on its machine.
    """
    if url.startswith("data:"):
        head = _DATA_URL.match(url)
        if head is None:
            raise invalid_at(path, f"{shortened(url)!r} is not of the form data:<type>;base64,<data>")
        decoded_base64(path, url[head.end() :])
    elif not is_web_url(url):
        raise invalid_at(path, f"{shortened(url)!r} is neither a data: URL nor an http(s) URL")
    return ImagePart(ImageURL(url, detail))


def audio_part(path: str, data: str, format: str) -> AudioPart:
    """The audio whose base64 data stands at *path*. Raises ApiError 400."""
    decoded_base64(path, data)
    return AudioPart(InputAudio(data, format))


def is_web_url(url: str) -> bool:
    """Whether *url* is one that is fetched, as the settings allow."""
    return url[:8].lower().startswith(_WEB)


def decoded_base64(path: str, data: str) -> bytes:
    """The base64 *data* at *path*, decoded. Raises ApiError 400 where it is broken."""
    try:
        return base64.b64decode(data.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise invalid_at(path, f"the base64 data is broken ({error})") from None
