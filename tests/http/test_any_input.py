"""Any JSON and any bytes are a request, or get their envelope."""

import json
from io import BytesIO

import hypothesis
import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gaia_core import Agent
from gaia_http import Settings
from gaia_http._errors import ApiError
from gaia_http.openai.chat._message_reader import transcript_of
from gaia_http.openai.chat._options import options_of
from gaia_http.openai.chat._wire import ChatRequest, WireMessage, WirePart, decode_request
from gaia_http.openai.responses.input._input_items import read_items
from gaia_http.openai.responses.input._wire import ResponsesPart, decode_items

PART_FIELDS = tuple(name for name in ResponsesPart.__struct_fields__ if name != "type")
FIELDS = tuple(sorted({*ChatRequest.__struct_fields__, *WireMessage.__struct_fields__, *WirePart.__struct_fields__}))

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), inner),
    max_leaves=8,
)
_value = st.sampled_from(["user", "tool", "assistant", "function", "text", "image_url", "c1", "required"]) | _json
_object = st.dictionaries(st.sampled_from(FIELDS), _value, max_size=5)
_request = st.dictionaries(st.sampled_from(FIELDS), st.lists(_object, max_size=3) | _object | _value)


unhurried = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])


def status_of(read, *args: object) -> int:
    """200, or the status of the error that *read* answers with. Whatever else it raises fails the test."""
    try:
        read(*args)
    except ApiError as error:
        json.loads(error.reply.body)
        return error.reply.status
    return 200


def read_request(data: bytes) -> None:
    wire = decode_request(data)
    transcript_of(wire.messages, 100)
    options_of(wire, Agent("a"), Settings())


@unhurried
@given(_request)
def test_any_json_is_a_request_or_gets_its_envelope(request):
    assert status_of(read_request, json.dumps(request).encode()) in (200, 400)


@unhurried
@given(st.lists(_object, min_size=1, max_size=4))
def test_any_messages_are_a_transcript_or_get_their_envelope(messages):
    assert status_of(read_request, json.dumps({"messages": messages}).encode()) in (200, 400)


@unhurried
@given(st.binary())
def test_any_bytes_are_a_request_or_get_their_envelope(data):
    assert status_of(decode_request, data) in (200, 400)


_kind = st.sampled_from(["message", "function_call", "function_call_output", "mcp_call", "custom_tool_call"])
_role = st.sampled_from(["user", "assistant", "system"])
_part_kind = st.sampled_from(["input_text", "output_text", "input_image", "input_file", "input_audio", "refusal"])
_parts = st.lists(st.fixed_dictionaries({"type": _part_kind}, optional=dict.fromkeys(PART_FIELDS, _value)))
_call_id = st.sampled_from(["c1", "c2"])
_item = st.fixed_dictionaries(
    {"type": _kind},
    optional={
        "role": _role,
        "content": st.text() | _parts | _value,
        "call_id": _call_id,
        "id": _call_id,
        "name": st.just("f"),
        "arguments": st.just("{}") | _value,
        "output": st.text() | _parts | _value,
    },
)


def read_input(data: bytes) -> str:
    """The paths of all parts of an input, or of what is refused."""
    try:
        read = read_items(decode_items(msgspec.Raw(data)), Settings(), ("c1",))
    except ApiError as error:
        return error.reply.param or ""
    parts = [len(message.content) if isinstance(message.content, tuple) else 0 for message in read.messages]
    assert [len(paths) for paths in read.paths] == parts
    return "".join(each.path for paths in read.paths for each in paths) or "input[]"


@unhurried
@given(st.lists(_item | _object, max_size=5))
def test_any_items_are_an_input_or_are_refused_by_their_path(items):
    assert read_input(json.dumps(items).encode()).startswith("input[")


def read_embeddings(data: bytes) -> None:
    from gaia_http.openai import _embeddings

    _embeddings._asked(_embeddings.decode_body(data, _embeddings._body_decoder))


_tokens = st.lists(st.integers(), max_size=3)


_input = st.lists(_tokens | st.text(max_size=3), max_size=3) | _tokens | _json
_options = {"dimensions": _json, "encoding_format": _json, "model": _json}


@unhurried
@given(st.fixed_dictionaries({"input": _input}, optional=_options))
def test_any_input_of_embeddings(body):
    assert status_of(read_embeddings, json.dumps(body).encode()) in (200, 400)


_line = st.sampled_from((
    b"--b\r\n", b"--b--\r\n", b"\r\n", b"--b", b"\n", b'Content-Disposition: form-data; name="file"; filename="a"\r\n',
    b'Content-Disposition: form-data; name="purpose"\r\n', b"user_data\r\n", b"Content-Disposition: x\r\n", b": \r\n",
))  # fmt: skip


@unhurried
@given(st.lists(_line | st.binary(max_size=9), max_size=12).map(b"".join))
def test_any_form(data):
    from gaia_http.openai._upload_form import UploadForm

    def read(data: bytes) -> None:
        form = UploadForm("b", 100, BytesIO())
        form.feed(data)
        form.feed(b"")

    assert status_of(read, data) in (200, 400, 413)
