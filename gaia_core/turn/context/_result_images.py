"""Images of results in a request: behind the results of their step, or in words.

A `tool` message holds text alone on most servers: Chat Completions knows no other part there, and vLLM refuses an
image in it with a 400 (source: vLLM issue 43203). So the images of a step's results are the content of one user's
message behind them, as those are that a client attaches to its own tools' results.

| the model | is sent |
|---|---|
| takes images | the result as it is, and behind the step's results a user's message with their images |
| takes none | the result, in which each image's words say so |

The images of a conversation are bounded: when there are too many, the oldest are left out, and their results say so.
It is a fold: which ones are left out changes only when there are too many again.
"""

import msgspec

from gaia_core.messages import ATTACHED, ImagePart, ImageURL, Part, TextPart, ToolMessage, UserMessage, text_of
from gaia_core.tool_output import TAKES_NONE, Image, unshown
from gaia_core.turn.context._transcript import IMAGE_CHARS, Transcript, TranscriptEntry, entry_of

MOST_SENT_BYTES = 16 * 1024 * 1024
"""Bytes of all images of results in one request."""

_KEPT_SHARE = 0.5
_LEFT_OUT = "left out to make room"


def with_images(
    transcript: Transcript, entries: list[TranscriptEntry], most_chars: int | None
) -> list[TranscriptEntry]:
    """*entries* with the images of their results as the model is sent them; those that are shown take *most_chars* of
    the window at most, one always being shown (None: any number)."""
    if not transcript.has_images:
        return entries
    shown = _shown(entries, most_chars) if transcript.shows_images else frozenset()
    why = _LEFT_OUT if transcript.shows_images else TAKES_NONE
    sent: list[TranscriptEntry] = []
    attached: list[Part] = []
    seq = 0
    for index, entry in enumerate(entries):
        message = entry.message
        if attached and not isinstance(message, ToolMessage):
            sent.append(entry_of(UserMessage(tuple(attached)), seq))
            attached = []
        if not isinstance(message, ToolMessage) or not message.images:
            sent.append(entry)
            continue
        seen = [image for n, image in enumerate(message.images) if (index, n) in shown]
        unseen = [image for n, image in enumerate(message.images) if (index, n) not in shown]
        told = _saying(message, unseen, why)
        sent.append(entry_of(told, entry.seq) if unseen else TranscriptEntry(told, entry.encoded, entry.seq))
        if seen:
            seq = entry.seq
            attached += [TextPart(ATTACHED.format(message.tool_call_id)), *[_part(image) for image in seen]]
    if attached:
        sent.append(entry_of(UserMessage(tuple(attached)), seq))
    return sent


def _shown(entries: list[TranscriptEntry], most_chars: int | None) -> frozenset[tuple[int, int]]:
    """Which images are shown, each by its entry's index and its own."""
    shown: list[tuple[int, int, int]] = []
    held = 0
    most = max(1, most_chars // IMAGE_CHARS) if most_chars is not None else None
    for index, entry in enumerate(entries):
        if not isinstance(entry.message, ToolMessage):
            continue
        for n, image in enumerate(entry.message.images):
            shown.append((index, n, len(image.data)))
            held += len(image.data)
            if held <= MOST_SENT_BYTES and (most is None or len(shown) <= most):
                continue
            while len(shown) > 1 and (
                held > MOST_SENT_BYTES * _KEPT_SHARE or (most is not None and len(shown) > max(1, most * _KEPT_SHARE))
            ):
                held -= shown.pop(0)[2]
    return frozenset([(index, n) for index, n, _ in shown])


def _saying(message: ToolMessage, images: list[Image], why: str) -> ToolMessage:
    """*message* without its images; its text says of *images* why they are not shown."""
    return msgspec.structs.replace(message, content=unshown(text_of(message.content), images, why), images=())


def _part(image: Image) -> ImagePart:
    return ImagePart(ImageURL(image.url))
