"""One value of a request: the errors that name it by its path, and checks that several readers share.

A path says where the value stands in its protocol's request, for example `messages[0].content` or `text.format.name`.
It begins the message and is the error's `param`.
"""

import re
from collections.abc import Iterable

from gaia_http._errors import ApiError, invalid

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_SHOWN_CHARS = 80


def shortened(text: str, chars: int = _SHOWN_CHARS) -> str:
    """*text*, cut with an ellipsis after *chars*."""
    return text if len(text) <= chars else f"{text[:chars]}…"


def invalid_at(path: str, words: str, code: str | None = "invalid_value", status: int = 400) -> ApiError:
    """The error that the value at *path* is wrong, as *words* say."""
    return invalid(f"{path}: {words}", param=path, code=code, status=status)


def missing_at(path: str, hint: str = "") -> ApiError:
    """The error that nothing stands at *path*; *hint* follows the sentence."""
    return invalid(f"{path} is missing{hint}", param=path, code="missing_required_parameter")


def unsupported_at(path: str, value: object, why: str) -> ApiError:
    """The error that *value* is valid in the protocol, but not served here."""
    return invalid_at(path, f"{value!r} is not supported: {why}", "unsupported_value")


def not_one_of(path: str, value: str, allowed: Iterable[str]) -> ApiError:
    """The error that *value* is not one of *allowed*."""
    return invalid_at(path, f"{shortened(value)!r} is not one of {', '.join(allowed)}")


def check_count(path: str, count: int, noun: str, most: int) -> None:
    """Raise ApiError 400 for a list of more than *most* entries; *noun* says what these are."""
    if count > most:
        words = f"{path} has {count} {noun}; at most {most} are accepted"
        raise invalid(words, param=path, code="array_above_max_length")


def check_least(path: str, value: int | None, least: int) -> None:
    """Raise ApiError 400 for a number below *least*; None is no number."""
    if value is not None and value < least:
        raise invalid_at(path, f"{value} is less than {least}", "integer_below_min_value")


def check_name(path: str, name: str) -> None:
    """Raise ApiError 400 for what can't be the name of a tool or a schema."""
    if not _NAME.match(name):
        raise invalid_at(path, f"{shortened(name)!r} must be 1 to 64 letters, digits, '_' or '-'")


def check_bytes(path: str, size: int, most: int) -> None:
    """Raise ApiError 400 for a document of more than *most* bytes."""
    if size > most:
        raise invalid(f"{path} has {size} bytes; at most {most} are accepted", param=path)
