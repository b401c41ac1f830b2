"""Text as a JSON string, for streams that put it between prepared bytes instead of encoding a dict for each token."""

import msgspec

from gaia_core.messages import mended

_encode = msgspec.json.Encoder().encode


def encoded_text(text: str) -> bytes:
    """*text* as a JSON string; lone surrogates become U+FFFD."""
    try:
        return _encode(text)
    except UnicodeEncodeError:
        return _encode(mended(text))
