"""Tool calls that a model writes as text: whether an answer, as it streams, may still become one.

While it may, the text is held back: `repair` turns a whole one into a call, which no client should have read as text.
"""

import re

# The beginnings of such a call, without the white space before it.
_BEGINNING = re.compile(
    r"""<tool_call>|(?:```(?:json|tool_call)?\s*)?[\[{]\s*(?:\{\s*)?"(?:name|function|tool|tool_name|type)"\s*:""",
)
_PREFIX_CHARS = 40


class CallAsText:
    """Belongs to one answer. Looks at its beginning only: a piece costs the same however much text came before it."""

    __slots__ = ("_beginning", "_is_call")

    def __init__(self) -> None:
        self._beginning = ""
        """The text so far without the white space before it, as long as it is undecided: less than _PREFIX_CHARS."""
        self._is_call = False

    def feed(self, text: str) -> bool:
        """Whether the answer, of which *text* is the next piece, may still become a call. Once False, feed no more."""
        if self._is_call:
            return True
        beginning = self._beginning = (self._beginning + text).lstrip()
        if not beginning:
            return True
        if beginning[0] not in "<`{[":
            return False
        self._is_call = _BEGINNING.match(beginning) is not None
        return self._is_call or (len(beginning) < _PREFIX_CHARS and _is_prefix(beginning))


def _is_prefix(text: str) -> bool:
    """Whether *text* begins one of the forms of `_BEGINNING`, white space aside."""
    packed = re.sub(r"\s+", "", text)
    heads = ("", "```", "```json", "```tool_call")
    keys = ("name", "function", "tool", "tool_name", "type")
    forms = ("<tool_call>", *(f'{head}{start}"{key}":' for head in heads for start in ("{", "[{") for key in keys))
    return any(form.startswith(packed) for form in forms)
