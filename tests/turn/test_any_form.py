"""Any schema is checked or refused by its own error, and any text is of its form or not; nothing else comes of it."""

import json
from contextlib import suppress

import hypothesis
from hypothesis import given
from hypothesis import strategies as st

from gaia_core import SchemaError
from gaia_core.models import ResponseFormat
from gaia_core.turn.step._response_format import ResponseFormatCheck, unfenced

_KEYWORDS = (
    "type", "properties", "items", "$ref", "$defs", "anyOf", "allOf", "oneOf", "not", "if", "then", "else", "enum",
    "const", "pattern", "patternProperties", "additionalProperties", "required", "format", "minimum", "maxLength",
    "prefixItems", "contains", "uniqueItems", "dependentSchemas", "unevaluatedProperties", "propertyNames", "$id",
    "$schema", "$anchor",
)  # fmt: skip
_WORDS = (
    "string", "object", "array", "integer", "#", "#/$defs/a", "#/properties", "^a+$", "(a+)+$", "[", "date-time", "a",
)  # fmt: skip
_NAMES = st.sampled_from((*_KEYWORDS, "a", "b"))

_scalar = st.none() | st.booleans() | st.integers() | st.sampled_from(_WORDS) | st.text(max_size=5)
_schema = st.recursive(
    _scalar,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)
_value = st.recursive(
    _scalar | st.floats(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner)
)

unhurried = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])


def problems(schema: object, text: str) -> object:
    try:
        return ResponseFormatCheck(ResponseFormat("json_schema", json.dumps(schema).encode())).problems(text)
    except SchemaError as error:
        return str(error)


@unhurried
@given(st.dictionaries(st.sampled_from(_KEYWORDS), _schema, max_size=5), _value)
def test_any_schema_and_any_value(schema, value):
    found = problems(schema, json.dumps(value))

    assert isinstance(found, str | tuple)
    assert len(str(found)) < 4_000


@unhurried
@given(st.binary(max_size=60))
def test_any_bytes_as_a_schema(data):
    with suppress(SchemaError):
        ResponseFormatCheck(ResponseFormat("json_schema", data))


@unhurried
@given(st.text(max_size=60))
def test_any_text(text):
    found = problems({"type": "integer"}, unfenced(text))

    try:
        value = json.loads(unfenced(text))
        fits = isinstance(value, int) or (isinstance(value, float) and value.is_integer())  # 0E0 is an integer
    except ValueError:
        fits = False
    assert (found == ()) in (fits, False)  # what is taken is JSON, and an integer
