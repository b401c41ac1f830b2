r"""Visible text: what a person is asked to approve, with everything that can't be seen written out.

    visible("rm\u200b x")                     # rm\u200b x: the escape is shown, not the character

A zero-width or tag character, a bidirectional control, a carriage return or an escape sequence changes what a call does
without changing what a person sees of it. Each is written as JSON writes it (`\u200b`; two halves beyond U+FFFF), so
the same words are right in a JSON text. Only what is shown changes: the arguments that run stay as they are.
"""

import re
from typing import Any

_KEPT = "\n\t"
# Printable for Python, and drawn as nothing or as a blank: combining joiner, Hangul and Khmer fillers, variation
# selectors, the empty Braille pattern, and the plane of tags. Source: Unicode, Default_Ignorable_Code_Point.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")


def visible(text: str) -> str:
    """*text*, with escapes for all that can't be seen. Line feeds and tabs stay. Twice is the same as once."""
    if text.isascii() and text.isprintable():
        return text
    return "".join([char if _is_seen(char) else _escape(char) for char in text])


def visible_json(text: str) -> str:
    """The JSON *text* as `visible`: it means the same and can be decoded as before."""
    # Outside of strings a carriage return is white space, and inside it is escaped already.
    return visible(text.replace("\r", " "))


def visible_value(value: Any) -> Any:
    """A copy of the decoded JSON *value*, its strings and keys as `visible`."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, list):
        return [visible_value(each) for each in value]
    if isinstance(value, dict):
        return {visible(name): visible_value(each) for name, each in value.items()}
    return value


def _is_seen(char: str) -> bool:
    return char in _KEPT or (char.isprintable() and not _BLANK.match(char))


def _escape(char: str) -> str:
    code = ord(char)
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
