"""Known errors of model servers: the request exceeds the context, the model is loading, an option is not supported.

| server | context overflow |
|---|---|
| llama.cpp | `"type": "exceed_context_size_error"`, `n_ctx`, `n_prompt_tokens` (PR 15780); older ones: words only |
| vLLM | `maximum context length is N tokens. However, you requested M tokens (P in the messages, …` |
| SGLang | `The input (P tokens) is longer than the model's context length (N tokens).`; also in a stream with 200 |
| LM Studio | `Trying to keep the first P tokens when context the overflows. … context length of only N tokens`; |
| | `Cannot truncate prompt with n_keep (P) >= n_ctx (N)`; in a stream with 200 |
| Ollama | `the input length exceeds the context length`, without numbers |
| OpenAI | `"code": "context_length_exceeded"` |
| Lemonade | llama.cpp's error inside its own |

Sources: the issue trackers of these projects.
"""

import re

import msgspec

_CODES = re.compile(r"exceed_context_size_error|context_length_exceeded|context_window_exceeded", re.IGNORECASE)
_WORDS = re.compile(
    r"context[ _](?:length|size|window)|maximum context|exceeds the (?:available )?context|context the overflows"
    r"|too many tokens|prompt is too long|input length|maximum (?:allowed|model|input) length|n_keep\W+\d+\W+n_ctx",
    re.IGNORECASE,
)
_WINDOW = (
    re.compile(r"n_ctx\W{1,6}(\d+)"),
    re.compile(r"ctx_size\W{1,6}(\d+)"),
    re.compile(r"context (?:length|size|window)\W+(?:(?:is|of|only)\s+)*(\d+)", re.IGNORECASE),
    re.compile(r"maximum (?:allowed|model|input) length\W+(?:(?:is|of|only)\s+)*(\d+)", re.IGNORECASE),
    re.compile(r"exceeds the limit of (\d+)", re.IGNORECASE),
    re.compile(r"\d+ tokens > (\d+)"),
)
_PROMPT = (
    re.compile(r"n_prompt_tokens\W{1,6}(\d+)"),
    re.compile(r"(\d+) (?:in|from) the (?:messages|prompt|input)", re.IGNORECASE),
    re.compile(r"(\d+) tokens from the input", re.IGNORECASE),
    re.compile(r"contains (?:at least )?(\d+) (?:input )?tokens", re.IGNORECASE),
    re.compile(r"resulted in (\d+) tokens", re.IGNORECASE),
    re.compile(r"keep the first (\d+) tokens", re.IGNORECASE),
    re.compile(r"n_keep\W{1,6}(\d+)"),
    re.compile(r"(?:input|request|prompt|input length|requested tokens) \((?:length )?(\d+)", re.IGNORECASE),
    re.compile(r"token count of (\d+)", re.IGNORECASE),
    re.compile(r"(\d+) tokens > \d+"),
)
_LEAST, _MOST = 16, 10**8
_BODY_CHARS = 4_000

_LOADING = re.compile(
    r"\bloading\b|\bbeing loaded\b|\bstarting\b|\bwarming up\b|\b(?:is )?not (?:yet )?(?:loaded|ready)\b", re.IGNORECASE
)

_UNSUPPORTED = re.compile(
    r"unsupported|not supported|does(?: not|n't) support|unknown|unrecogni[sz]ed|unexpected|not permitted|not allowed"
    r"|forbidden|extra (?:fields|inputs)|extraneous|no such|invalid (?:field|parameter|argument|property)",
    re.IGNORECASE,
)

OMITTABLE = (
    "stream_options",
    "parallel_tool_calls",
    "reasoning_effort",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "temperature",
    "top_p",
    "seed",
)
"""Options that may be left out: the answer stays an answer to what was asked. `tools`, `tool_choice`,
`response_format`, `stop` and a limit of tokens are part of what was asked."""

_RENAMED = (("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens"))


class Overflow(msgspec.Struct, frozen=True, gc=False):
    """A request that exceeds the context: the context's size and the prompt's, in tokens; None: the server didn't
    say."""

    window: int | None = None
    prompt_tokens: int | None = None


def overflow_of(words: str, body: str) -> Overflow | None:
    """What an error says of a request that exceeds the context, by its *words* and its whole *body*; None for another
    error. The body may repeat the request, so its words aren't taken for the server's."""
    body = body[:_BODY_CHARS]
    if not (_CODES.search(body) or _WORDS.search(words)):
        return None
    text = f"{words}\n{body}"
    return Overflow(_number(_WINDOW, text), _number(_PROMPT, text))


def _number(patterns: tuple[re.Pattern[str], ...], text: str) -> int | None:
    for pattern in patterns:
        if (found := pattern.search(text)) is not None and _LEAST <= (number := int(found[1][:12])) <= _MOST:
            return number
    return None


def is_loading(status: int, words: str) -> bool:
    """Whether the server is there and its model is not ready yet: llama.cpp, Lemonade and llama-swap answer 503."""
    return status == 503 and _LOADING.search(words) is not None


def refused_option(words: str, members: frozenset[str]) -> tuple[str, str] | None:
    """The option of *members* (of the request's body) that the server's *words* refuse, and the name under which it
    is sent from now on ("": it is left out); None when nothing of that kind is said."""
    if _UNSUPPORTED.search(words) is None:
        return None
    for old, new in _RENAMED:
        if old in members and _names(old, words) and _names(new, words):
            return old, new
    for option in OMITTABLE:
        if option in members and _names(option, words):
            return option, ""
    if "max_completion_tokens" in members and _names("max_completion_tokens", words):
        return "max_completion_tokens", "max_tokens"  # the older name of the same
    return None


def _names(option: str, words: str) -> bool:
    return re.search(rf"(?<![\w.]){option}(?!\w)", words) is not None
