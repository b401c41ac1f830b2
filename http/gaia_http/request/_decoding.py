"""JSON → wire structs, with decoding errors that name the value at fault by its path and show it."""

import re
from typing import Annotated, TypeAlias, TypeVar

import msgspec

from gaia_core import NestingError
from gaia_core.nesting import check_nesting
from gaia_http._errors import ApiError, invalid
from gaia_http.request._fields import shortened
from gaia_http.request._surrogates import lone_surrogate

T = TypeVar("T")

_AT = re.compile(r" - at `(?:key` in `)?\$\.?(?P<path>[^`]*)`\Z")
_STEP = re.compile(r"\.?([A-Za-z0-9_]+)|\[(\d+)\]")
_SOME_VALUE = "[...]"

Integer: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


def given(raw: msgspec.Raw) -> bool:
    """Whether a raw field was sent, and not as null."""
    return bytes(raw) not in (b"", b"null")


def decode_body(body: bytes, decoder: msgspec.json.Decoder[T], *, status: int = 400) -> T:
    """*body* as what *decoder* gives.

    Raises ApiError: 400 for what is no JSON, *status* for a wrong value, whose path is `param`.
    """
    try:
        if not body.isascii():
            body.decode()  # the decoder skips over bytes in fields that it does not know
        check_nesting(body)
        return decoder.decode(body)
    except UnicodeDecodeError as error:
        raise _not_json(f"byte {error.start} is not UTF-8") from None
    except NestingError as error:
        raise too_deep(error) from None
    except msgspec.ValidationError as error:
        raise _wrong_value(error, body, "", status) from None
    except msgspec.DecodeError as error:
        if (place := lone_surrogate(body)) is not None:
            words = "half of a surrogate pair, which is no character; send both halves, or U+FFFD"
            raise invalid(f"{place or 'the body'}: {words}", param=place or None, code="lone_surrogate") from None
        hint = " (it begins with a byte order mark: leave that out)" if body.startswith(b"\xef\xbb\xbf") else ""
        words = "it is empty" if not body.strip() else f"{str(error).removeprefix('JSON is malformed: ')}{hint}"
        raise _not_json(words) from None


def decode_field(raw: msgspec.Raw, decoder: msgspec.json.Decoder[T], path: str) -> T:
    """The raw field at *path* as what *decoder* gives. Raises ApiError 400 for a wrong value, whose path is `param`."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise _wrong_value(error, bytes(raw), path, 400) from None


def check_nested_json(text: str, path: str) -> None:
    """Raise ApiError 400 if the JSON in the string at *path* is nested too deep. Here it stays a string, but the model
    server decodes it to render the prompt."""
    try:
        check_nesting(text)
    except NestingError as error:
        raise too_deep(error, path) from None


def too_deep(error: NestingError, path: str = "") -> ApiError:
    """The error for a body that is nested too deep, or for the JSON in the string at *path*."""
    words = f"{path or 'the body'} is {error}; make it flatter, or send the inner part as a string"
    return invalid(words, param=path or error.place or None, code="nesting_too_deep")


def _not_json(words: str) -> ApiError:
    return invalid(f"the body is not valid JSON: {words}", code="invalid_json")


def _wrong_value(error: msgspec.ValidationError, document: bytes, root: str, status: int) -> ApiError:
    """A decoder's error about *document*, which stands at the path *root* of the request."""
    text = str(error)
    found = _AT.search(text)
    path = found["path"] if found else ""
    param = f"{root}.{path}" if root and path and not path.startswith("[") else f"{root}{path}"
    words = text[: found.start()] if found else text
    words = words[:1].lower() + words[1:]
    if param.endswith(_SOME_VALUE):  # of a map's value the decoder doesn't say which
        param, words = param.removesuffix(_SOME_VALUE), f"one of its values is wrong: {words}"
    message = f"{param or 'the body'}: {words}{_shown(document, path)}"
    return invalid(message, param=param or None, code="invalid_type", status=status)


def _shown(document: bytes, path: str) -> str:
    """The value at *path*, shortened, for a message; nothing where it can't be had or says nothing."""
    try:
        value: object = msgspec.json.decode(document)
        for name, index in _STEP.findall(path):
            value = value[int(index)] if index else value[name]  # type: ignore[index]
    except (msgspec.DecodeError, LookupError, TypeError, ValueError):
        return ""
    if isinstance(value, dict | list):
        return ""
    return f" ({shortened(msgspec.json.encode(value).decode())})"
