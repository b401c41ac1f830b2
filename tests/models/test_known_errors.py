"""What a server says of a request that exceeds its context: the numbers in its words, whoever wrote them."""

import pytest

from gaia_core.models.endpoint._known_errors import Overflow, overflow_of, refused_option


@pytest.mark.parametrize(
    ("words", "window", "prompt"),
    [
        # vLLM
        (
            (
                "This model's maximum context length is 4096 tokens. However, you requested 5096 tokens (5000 in the messages, "
                "96 in the completion)."
            ),
            4096,
            5000,
        ),
        (
            (
                "This model's maximum context length is 4096 tokens. However, you requested 96 output tokens and your prompt "
                "contains at least 5000 input tokens."
            ),
            4096,
            5000,
        ),
        # SGLang
        ("The input (5000 tokens) is longer than the model's context length (4096 tokens).", 4096, 5000),
        (
            (
                "Requested token count exceeds the model's maximum context length of 4096 tokens: 5000 tokens from the input "
                "messages and 96 tokens for the completion."
            ),
            4096,
            5000,
        ),
        ("Input length (5000 tokens) exceeds the maximum allowed length (4096 tokens).", 4096, 5000),
        # LM Studio
        (
            (
                "Trying to keep the first 5000 tokens when context the overflows. The model is loaded with context length of "
                "only 4096 tokens."
            ),
            4096,
            5000,
        ),
        ("Cannot truncate prompt with n_keep (5000) >= n_ctx (4096)", 4096, 5000),
        # OpenAI
        (
            "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens.",
            4096,
            5000,
        ),
        # GitHub Copilot, which stands before many models
        ("prompt token count of 5000 exceeds the limit of 4096: too many tokens", 4096, 5000),
        # Anthropic's API, behind a proxy
        ("prompt is too long: 5000 tokens > 4096 maximum", 4096, 5000),
        # Ollama
        ("the input length exceeds the context length", None, None),
    ],
)
def test_the_numbers_of_an_overflow_are_read_from_its_words(words, window, prompt):
    assert overflow_of(words, "{}") == Overflow(window, prompt)


@pytest.mark.parametrize(
    ("body", "window", "prompt"),
    [
        ('{"type": "exceed_context_size_error", "n_prompt_tokens": 5000, "n_ctx": 4096}', 4096, 5000),
        ('{"code": "context_length_exceeded", "ctx_size": 4096}', 4096, None),
        ('{"code": "context_length_exceeded"}', None, None),
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
