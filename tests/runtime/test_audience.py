"""Who is there while a turn runs: how it is recorded, and what records of version 0.1 say of it."""

import msgspec
import pytest

from gaia_core.facts import Began, decode_fact, encode_fact
from gaia_core.runtime.sessions._history import audience_of
from gaia_core.turn import Audience


@pytest.mark.parametrize("audience", list(Audience))
def test_a_record_says_who_was_there(audience):
    began = Began("a", "", "m", audience=audience)

    assert audience_of(decode_fact(encode_fact(began))) is audience


@pytest.mark.parametrize(
    ("fields", "audience"),
    [
        ({}, Audience.NOBODY),
        ({"interactive": True}, Audience.INTERACTIVE),
        ({"interactive": True, "options": {"approvals_only": True, "foreground": True}}, Audience.CLIENT),
        ({"interactive": True, "options": {"approvals_only": True}}, Audience.BACKGROUND),
        ({"options": {"approvals_only": True, "foreground": True}}, Audience.NOBODY),
    ],
)
def test_records_of_version_0_1_are_read(fields, audience):
    options = msgspec.json.encode(fields.get("options", {}))
    written = {**fields, "type": "began", "agent": "a", "fingerprint": "", "model": "m", "options": options}

    assert audience_of(decode_fact(msgspec.json.encode(written))) is audience


@pytest.mark.parametrize("audience", list(Audience))
def test_a_sub_agent_is_asked_about_only_where_its_caller_answers_questions(audience):
    inside = audience.of_delegate

    assert (inside.approves, inside.answers) == (audience.answers, audience.answers)
    assert inside.waits == audience.waits
