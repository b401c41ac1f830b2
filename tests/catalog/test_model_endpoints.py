"""A model's endpoints and limits in gaia.toml: one URL or a list of them, slots, and a budget of context tokens."""

from pathlib import Path

import pytest

from gaia_core.catalog import Catalog, load_catalog
from gaia_core.catalog._catalog import ModelSpec
from gaia_core.errors import ConfigError
from gaia_core.models import EndpointLoad, PromptedTools

A, B = "http://127.0.0.1:8001/v1", "http://127.0.0.1:8002/v1"


def read(folder: Path, model: str) -> Catalog:
    (folder / "gaia.toml").write_text(f"[models.local]\n{model}\n[agents.a]\n", encoding="utf-8")
    return load_catalog(environ={}, cwd=folder, plugins={})


async def urls(spec: ModelSpec) -> list[str]:
    model = spec.open()
    endpoints: tuple[EndpointLoad, ...] = model.endpoints
    await model.aclose()
    return [endpoint.url for endpoint in endpoints]


async def test_a_model_may_have_one_url(tmp_path):
    spec = read(tmp_path, f'url = "{A}"').model("local")

    assert await urls(spec) == [A]
    assert (spec.context_tokens, spec.description) == (None, f"the first model at {A} (configured)")


async def test_a_model_may_have_several_urls_for_failover(tmp_path):
    spec = read(tmp_path, f'url = ["{A}", "{B}"]\nmodel = "m"').model("local")

    assert await urls(spec) == [A, B]
    assert spec.description == f"m at {A}, {B} (configured)"


async def test_prompted_tools_are_laid_over_several_urls(tmp_path):
    spec = read(tmp_path, f'url = ["{A}", "{B}"]\ntool_calls = "prompted"').model("local")

    assert isinstance(spec.open(), PromptedTools)
    assert await urls(spec) == [A, B]


def test_an_endpoint_may_enforce_a_response_format_and_the_embedded_model_does(tmp_path):
    read_format = {
        said: read(tmp_path, f'url = "{A}"\n{said}').model("local").enforces_format
        for said in ("", 'response_format = "corrected"', 'response_format = "enforced"')
    }

    assert list(read_format.values()) == [False, False, True]
    assert read(tmp_path, "embedded = true").model("local").enforces_format


def test_context_tokens_bound_what_runs_at_an_endpoint(tmp_path):
    assert read(tmp_path, f'url = "{A}"\ncontext_tokens = 32768').model("local").context_tokens == 32_768


def test_the_embedded_model_divides_its_context_itself(tmp_path):
    assert read(tmp_path, "embedded = true\ncontext_tokens = 32768").model("local").context_tokens is None


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("url = []", r"models\.local\.url: give the URL.*a list of them for failover"),
        ("slots = 1", r"models\.local\.url: give the URL"),
        (f'url = ["{A}", "{A}/"]', rf"models\.local\.url: {A} is named twice"),
        (f'url = ["{A}", "ftp://x"]', r"models\.local: url 'ftp://x' must begin with http"),
        (f'url = "{A}"\ncontext_tokens = 0', r"models\.local\.context_tokens"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, model, words):
    with pytest.raises(ConfigError, match=words):
        read(tmp_path, model)


def test_a_budget_of_nothing_is_no_budget():
    with pytest.raises(ConfigError, match="context_tokens must be at least 1, or left out"):
        ModelSpec("m", open=PromptedTools, context_tokens=0)
