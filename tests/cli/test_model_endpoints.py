"""`gaia model list`, `status` and `use` with endpoints that answer."""

import json

import pytest
from aiohttp import web

from gaia_core import load_catalog

LISTED = {"data": [{"id": "nomic-embed-text"}, {"id": "qwen3", "max_model_len": 4096}, {"id": "llama"}]}


@pytest.fixture
async def served(tmp_path):
    """An endpoint that lists three models and answers with two words; `gaia.toml` names it without a model."""

    async def models(_request: web.Request) -> web.Response:
        return web.json_response(LISTED)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for delta in ({"content": "1 "}, {"content": "2"}):
            chunk = {"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        last = {"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        usage = {"id": "x", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}}
        for chunk in (last, usage):
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response

    app = web.Application()
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    (tmp_path / "gaia.toml").write_text(f'# mine\n[models.local]\nurl = "{url}"  # the big machine\nslots = 2\n')
    yield url
    await runner.cleanup()


async def test_list_says_what_each_endpoint_has_and_which_answers(served, gaia):
    code, out, err = await gaia("model", "list", "--json")

    rows = json.loads(out)
    assert (code, err) == (0, "")
    assert [(row["model"], row["for"], row["context"], row["state"]) for row in rows if row["at"] == served] == [
        ("nomic-embed-text", "embeddings", "", ""),
        ("qwen3", "chat", "4096", "answers local"),
        ("llama", "chat", "", ""),
    ]
    shelf = {row["model"]: row["state"] for row in rows if row["at"] == "embedded"}
    assert "gaia model pull coder-7b (4,680 MB, 7 GB of memory, Apache-2.0)" in shelf["coder-7b"]


async def test_an_endpoint_that_is_down_is_listed_by_its_entry(tmp_path, gaia):
    (tmp_path / "gaia.toml").write_text('[models.second]\nurl = "http://127.0.0.1:9/v1"\n')

    code, out, _ = await gaia("model", "list", "--json")

    (row,) = [row for row in json.loads(out) if row["at"] == "http://127.0.0.1:9/v1"]
    assert (code, row["model"]) == (0, "models.second")
    assert "doesn't say what it has" in row["state"]


async def test_status_says_which_answers_and_why(served, gaia):
    code, out, _ = await gaia("model", "status")

    assert code == 0
    assert f"  {served}: qwen3 answers: the first of 3 listed that chats; set model to choose another\n" in out


async def test_status_measures_when_it_is_asked_to(served, gaia):
    code, out, _ = await gaia("model", "status", "--measure", "--json")

    (local,) = json.loads(out)["models"]
    assert code == 0
    assert local["speed"].startswith("measured: first token after ")
    assert local["speed"].endswith("(2 tokens)")
    assert local["endpoints"][0]["answers"] == "qwen3"


async def test_status_of_an_endpoint_that_is_not_there(gaia, tmp_path):
    (tmp_path / "gaia.toml").write_text('[models.local]\nurl = "http://127.0.0.1:9/v1"\n')
    code, out, _ = await gaia("model", "status")

    assert code == 0
    assert "doesn't say what it has: the model's endpoint http://127.0.0.1:9/v1 can't be reached" in out


async def test_use_writes_one_table_and_keeps_the_rest(served, gaia, tmp_path):
    code, out, err = await gaia("model", "use", "llama")

    assert code == 0, err
    assert (tmp_path / "gaia.toml").read_text() == (
        f'# mine\n[models.local]\nurl = "{served}"  # the big machine\nslots = 2\nmodel = "llama"\n'
    )
    assert "gaia reload" in out


async def test_use_of_what_nobody_lists_changes_nothing(served, gaia, tmp_path):
    before = (tmp_path / "gaia.toml").read_text()
    code, _, err = await gaia("model", "use", "qwen4")

    assert code == 1
    assert "lists 'qwen4'. Did you mean 'qwen3'?" in err
    assert (tmp_path / "gaia.toml").read_text() == before


async def test_use_of_a_file_and_back(served, gaia, noise, tmp_path):
    code, out, err = await gaia("model", "use", str(noise))
    assert code == 0, err
    assert "removed from it: url" in out
    assert load_catalog(tmp_path / "gaia.toml", environ={}, cwd=tmp_path).model("local").kind == "embedded"
    code, out, err = await gaia("model", "use", "llama", "--url", served)

    assert code == 0, err
    assert "removed from it: embedded" in out
    assert load_catalog(tmp_path / "gaia.toml", environ={}, cwd=tmp_path).model("local").served == "llama"


async def test_use_makes_the_file_that_is_missing(served, gaia, tmp_path):
    code, _, err = await gaia("model", "use", "llama", "--url", served, "--name", "big")
    (tmp_path / "gaia.toml").unlink()
    code, _, err = await gaia("model", "use", "llama", "--url", served)

    assert code == 0, err
    assert (tmp_path / "gaia.toml").read_text() == f'[models.local]\nurl = "{served}"\nmodel = "llama"\n'


async def test_what_would_be_no_configuration_is_not_written(served, gaia, tmp_path):
    before = (tmp_path / "gaia.toml").read_text()
    code, _, err = await gaia("model", "use", "m", "--url", "ftp://nowhere")

    assert code == 1
    assert "ftp://nowhere" in err
    assert (tmp_path / "gaia.toml").read_text() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".gaia")] == []


async def test_every_list_is_json_when_that_is_asked_for(served, gaia, record):
    code, out, _ = await gaia("tools", "--json", "--agent", "assistant")
    assert code == 0
    assert {row["tool"] for row in json.loads(out)} >= {"read_file", "list_files"}
    await gaia("chat", "Hi")
    for arguments in (("sessions", "list"), ("sessions", "search", "Hi")):
        code, out, _ = await gaia(*arguments, "--json")
        (row,) = json.loads(out)
        assert (code, row["agent"], row["messages"]) == (0, "assistant", "2")
