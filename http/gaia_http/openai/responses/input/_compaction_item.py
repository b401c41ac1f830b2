"""The `compaction` item: a summary that its client carries. It holds no more than the client could say itself."""

import base64

from gaia_http._errors import invalid

_HEAD = "gaia1."
_WORDS = "Earlier in this conversation (a summary; the messages themselves are not shown any more):\n\n"


def packed(summary: str) -> str:
    """*summary* as the item's `encrypted_content`."""
    return _HEAD + base64.urlsafe_b64encode(summary.encode("utf-8", "replace")).decode()


def summary_of(content: str | None, param: str) -> str:
    """The summary in the item, for the model. Raises ApiError 400 for a content that `packed` did not make."""
    summary = _unpacked(content or "")
    if summary is None:
        raise invalid(f"{param} was not made by POST /v1/responses/compact", param=param, code="invalid_value")
    return _WORDS + summary


def _unpacked(content: str) -> str | None:
    if not content.startswith(_HEAD):
        return None
    try:
        return base64.b64decode(content.removeprefix(_HEAD), b"-_", validate=True).decode()
    except ValueError:
        return None
