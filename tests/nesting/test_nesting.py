"""How deep a JSON document may be nested: exact, whatever its strings hold, and the same on every interpreter."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaia_core import NestingError
from gaia_core.nesting import MAX_NESTING, _Scan, check_nesting, decode_json, encode_json, nesting_depth

values = st.recursive(
    st.none() | st.integers() | st.text() | st.sampled_from(("]", "}", "[[[", '"', "\\", '\\"]', "\ud800")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3) | st.just('"}\\'), inner, max_size=4)
    ),
    max_leaves=40,
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def passes(document: bytes | str, most: int = MAX_NESTING) -> bool:
    try:
        check_nesting(document, most)
    except NestingError:
        return False
    return True


def arrays(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def objects(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


def mixed(levels: int) -> bytes:
    """With wide neighbours, texts full of brackets, and white space between."""
    text = rb'"]}{[\\", "\"]]", {"\"": "\\\\"}, []'
    begun = b"".join(b"[ %b,\n" % text if n % 2 else b'{"]": [%b], "a\\"" : ' % text for n in range(levels - 3))
    return begun + b'[[{"z": 1}]]' + b"".join(b" ]" if n % 2 else b"\t}" for n in reversed(range(levels - 3)))


@pytest.mark.parametrize("made", [arrays, objects, mixed], ids=lambda made: made.__name__)
def test_the_limit_passes_and_one_more_level_does_not(made):
    assert depth(json.loads(made(MAX_NESTING))) == MAX_NESTING

    assert passes(made(MAX_NESTING))
    assert passes(made(MAX_NESTING).decode())
    assert not passes(made(MAX_NESTING + 1))
    assert not passes(made(MAX_NESTING + 1).decode())


@pytest.mark.parametrize("made", [arrays, objects, mixed], ids=lambda made: made.__name__)
def test_what_is_never_closed_is_counted_as_well(made):
    assert not passes(made(MAX_NESTING + 1)[: -(MAX_NESTING + 1)])
    assert not passes(made(100_000)[:-100_000])


@given(values, st.integers(0, 6), st.booleans())
def test_it_is_exact_for_any_value(value, most, plain):
    document = json.dumps(value, ensure_ascii=plain)

    assert passes(document, most) == (depth(value) <= most)


@given(values, st.integers(0, 6), st.randoms())
def test_pieces_are_as_the_whole(value, most, random):
    document = json.dumps(value).encode()
    scan, begin, fits = _Scan(most), 0, True
    while fits and begin < len(document):
        end = begin + random.randint(1, 5)
        fits, begin = scan.read(document[begin:end]), end

    assert fits == passes(document, most)


@given(values, st.integers(0, 6), st.randoms())
def test_no_broken_document_is_decoded_deeper_than_it_says(value, most, random):
    document = bytearray(json.dumps(value).encode())
    for _ in range(random.randint(1, 3)):
        document[random.randrange(len(document))] = random.choice(b'[]{}",:\\u\xff 1')
    sent = bytes(document)

    for decode in (json.loads, msgspec.json.decode):
        try:
            found = decode(sent)
        except ValueError:
            continue
        assert passes(sent, most) == (depth(found) <= most)


@pytest.mark.parametrize(
    "filler",
    [b'"' + b"[" * 300_000 + b'", ', b"[], " * 100_000, b'"\\"\\\\", ' * 50_000, b'"x' + b"\\\\" * 100_001 + b'", '],
)
def test_long_documents(filler):
    before = b"[" + filler

    assert passes(before + arrays(MAX_NESTING - 1) + b"]")
    assert not passes(before + arrays(MAX_NESTING) + b"]")
    assert passes(b"[[[" + before + b"1]]]," + arrays(MAX_NESTING - 1) + b"]")


def test_text_that_is_no_utf_8_is_counted():
    assert passes("\ud800" + arrays(MAX_NESTING).decode())
    assert not passes('["\ud800", ' + arrays(MAX_NESTING).decode() + "]")


@pytest.mark.parametrize(
    ("before", "place"),
    [
        (b'{"tools": [{}, {"a": [1, 2], "function": {"parameters": ', "tools[1].function.parameters"),
        (b'{"a, \\"b": {"c": [[0, {"d": [', 'a, \\"b.c[0][1]'),
        (b'{"messages": [' + b'{"role": "user", "content": "Hi"}, ' * 1_000, "messages[1000][0][0]"),
        (b"[" + b"1," * 100_000, ""),
    ],
)
def test_the_error_names_the_place(before, place):
    with pytest.raises(NestingError) as raised:
        check_nesting(before + arrays(MAX_NESTING))

    assert raised.value.place == place
    where = f", in {place}" if place else ""
    assert str(raised.value) == f"nested deeper than {MAX_NESTING} levels{where}"


@pytest.mark.parametrize("made", [arrays, objects, mixed], ids=lambda made: made.__name__)
def test_what_passes_is_decoded_on_any_stack(on_a_full_stack, made):
    document = made(MAX_NESTING)

    found = on_a_full_stack(lambda: (decode_json(document), decode_json(document, msgspec.Raw), json.loads(document)))

    assert nesting_depth(found[0]) == MAX_NESTING
    assert found[0] == found[2]
    assert bytes(found[1]) == document


@pytest.mark.parametrize("decode", [decode_json, lambda sent: decode_json(sent, dict[str, msgspec.Raw])])
@pytest.mark.parametrize("levels", [MAX_NESTING + 1, 1_000, 100_000, 3_000_000])
def test_what_is_too_deep_is_an_error_of_decoding(decode, levels):
    with pytest.raises(msgspec.DecodeError, match="nested deeper than 128 levels"):
        decode(b'{"x": ' + b"[" * levels)


def nested(levels: int) -> list:
    value: list = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_values_are_encoded_within_the_limit():
    assert encode_json(nested(MAX_NESTING)) == arrays(MAX_NESTING)
    endless: list = []
    endless.append(endless)
    for value in (nested(MAX_NESTING + 1), nested(100_000), endless):
        with pytest.raises(NestingError):
            encode_json(value)


@given(values)
def test_values_are_measured_without_their_json(value):
    assert nesting_depth(value) == depth(value)


def test_any_depth_is_measured():
    assert nesting_depth(nested(100_000)) == 100_000
