"""What a server says of a request that exceeds its context: the numbers in its words, whoever wrote them."""

import pytest

from gaia_core.models.endpoint._known_errors import Overflow, overflow_of, refused_option

WORDS = {
    "vLLM": "This model's maximum context length is 4096 tokens. You requested 5096 (5000 in the messages).",
    "vLLM, newer": "the model's maximum context length is 4096 tokens. The prompt contains at least 5000 input tokens.",
    "SGLang": "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
    "SGLang, total": "exceeds the model's maximum context length of 4096 tokens: 5000 tokens from the input messages",
    "SGLang, allowed": "Input length (5000 tokens) exceeds the maximum allowed length (4096 tokens).",
    "LM Studio": "Trying to keep the first 5000 tokens when context the overflows: context length of only 4096 tokens",
    "LM Studio, newer": "Cannot truncate prompt with n_keep (5000) >= n_ctx (4096)",
    "OpenAI": "maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens.",
    "GitHub Copilot": "prompt token count of 5000 exceeds the limit of 4096: too many tokens",
    "Anthropic, behind a proxy": "prompt is too long: 5000 tokens > 4096 maximum",
}


@pytest.mark.parametrize("server", WORDS)
def test_the_numbers_of_an_overflow_are_read_from_its_words(server):
    assert overflow_of(WORDS[server], "{}") == Overflow(4096, 5000)


@pytest.mark.parametrize(
    ("body", "window", "prompt"),
    [
        ('{"message": "no", "code": "context_length_exceeded"}', None, None),
        ('{"type": "exceed_context_size_error", "n_prompt_tokens": 5000, "n_ctx": 4096}', 4096, 5000),
        ('{"code": "context_length_exceeded", "ctx_size": 4096}', 4096, None),
        ('{"code": "context_length_exceeded", "n_ctx": 1}', None, None),  # no context has one token
    ],
)
def test_the_numbers_of_an_overflow_are_read_from_its_fields(body, window, prompt):
    assert overflow_of("no", body) == Overflow(window, prompt)


@pytest.mark.parametrize("words", ["no", "the model has crashed", "temperature must be at most 2"])
def test_another_error_is_no_overflow(words):
    assert overflow_of(words, '{"messages": "the context length of 4096 tokens"}') is None


def test_a_server_that_knows_only_the_older_name_of_the_limit_gets_that():
    words = "Unrecognized request argument supplied: max_completion_tokens"

    assert refused_option(words, frozenset({"max_completion_tokens"})) == ("max_completion_tokens", "max_tokens")
