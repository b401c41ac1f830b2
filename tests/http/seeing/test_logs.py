"""Log lines: one record is one line, says what it is about, and shows no secret."""

import io
import json
import logging
import time

import pytest

from gaia_core import Agent, Session
from gaia_http.operations._logs import JsonFormatter, LogContext, TextFormatter, masked


def lines_of(form: type, log, context: LogContext | None = None) -> str:
    """What *log* writes to a logger with a formatter of that class."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(form(context or LogContext()))
    logger = logging.Logger("test", logging.DEBUG)  # noqa: LOG001  # one that nobody else has
    logger.addHandler(handler)
    log(logger)
    return stream.getvalue()


HOSTILE = "a\nFAKE line\r\x1b[31m\x00\u202e\x85\u2028end"


@pytest.mark.parametrize("form", [TextFormatter, JsonFormatter])
def test_a_record_is_one_line_of_printable_characters(form):
    text = lines_of(form, lambda log: log.warning("got %s", HOSTILE))

    assert text.count("\n") == 1
    assert "FAKE line" in text
    shown = json.loads(text)["message"] if form is JsonFormatter else text[:-1]
    assert shown.count("\n") == (1 if form is JsonFormatter else 0)  # in JSON it is data, escaped on the line
    assert not any(ord(character) < 32 for character in text[:-1])
    assert "\u202e" not in text
    assert "\u2028" not in text


@pytest.mark.parametrize(
    "said",
    [
        "Authorization: Bearer abcdefgh12345678",
        "authorization='Bearer abcdefgh12345678'",
        "Basic abcdefgh12345678",
        "x-api-key: abcdefgh12345678",
        'api_key="abcdefgh12345678"',
        "password=abcdefgh12345678&x=1",
        '{"token": "abcdefgh12345678"}',
        "sk-abcdefgh12345678abcd",
        "gaia_abcdefgh12345678abcd",
        "postgresql://me:abcdefgh12345678@db/x",
    ],
)
def test_what_looks_like_a_secret_is_masked(said):
    assert "abcdefgh12345678" not in masked(f"before {said} after")
    assert masked(said) != ""
    for form in (TextFormatter, JsonFormatter):
        assert "abcdefgh12345678" not in lines_of(form, lambda log: log.warning("x %s", said))


@pytest.mark.parametrize(
    "said",
    [
        "authorization: Bearer KEY",
        "a token bucket",
        "the basic idea",
        "tokens: 12",
        "the turn turn_0123 failed",
        "sk-8",
    ],
)
def test_other_words_stay(said):
    assert masked(said) == said


@pytest.mark.parametrize("form", [TextFormatter, JsonFormatter])
def test_a_traceback_shows_no_secret_and_no_control_characters(form):
    def log(logger: logging.Logger) -> None:
        try:
            raise ValueError("password=abcdefgh12345678 \x1b[31m")
        except ValueError:
            logger.exception("failed")

    text = lines_of(form, log)

    assert "ValueError" in text
    assert "abcdefgh12345678" not in text
    assert "\x1b" not in text
    assert form is TextFormatter or text.count("\n") == 1


def test_what_a_line_is_about():
    context = LogContext()
    context.request("req_1", "laptop")
    context.turn(Session("s1", Agent("a")), "turn_1")

    text = lines_of(TextFormatter, lambda log: log.warning("hm"), context)
    found = json.loads(lines_of(JsonFormatter, lambda log: log.warning("hm", extra={"status": 7}), context))

    assert text.endswith(" WARNING test: hm [request=req_1 key=laptop session=s1 turn=turn_1]\n")
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "warning",
        "logger": "test",
        "message": "hm",
        "request": "req_1",
        "key": "laptop",
        "session": "s1",
        "turn": "turn_1",
        "status": 7,
    }


def test_the_next_request_says_nothing_of_the_last_one():
    context = LogContext()
    context.request("req_1", "laptop")
    context.turn(Session("s1", Agent("a")), "turn_1")
    context.request("req_2", "")

    assert context.said == (("request", "req_2"),)


def test_lone_surrogates_are_no_trouble():
    text = lines_of(JsonFormatter, lambda log: log.warning("x %s", "\ud800"))

    assert json.loads(text)["message"].startswith("x ")


@pytest.mark.parametrize(
    "text",
    [
        "GAIA_API_KEY=a-quite-long-one",
        "client_secret: a-quite-long-one",
        "'access_token': 'a-quite-long-one'",
        "GET /x?key=a-quite-long-one",
        "hf_aquitelongoneofletters",
        "ghp_aquitelongoneofletters",
    ],
)
def test_secrets_are_masked_by_the_ends_of_their_names(text):
    assert "long" not in masked(text)
    assert masked("key=laptop max_tokens=4096") == "key=laptop max_tokens=4096"


@pytest.mark.parametrize("part", ["a", "_-", "secret", "token_", "://", "a://b:", "bearer "])
def test_masking_a_long_line_takes_no_time(part):
    text = part * (1_000_000 // len(part))
    began = time.perf_counter()

    masked(text)

    assert time.perf_counter() - began < 10
