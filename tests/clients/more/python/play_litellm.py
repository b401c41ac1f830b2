"""LiteLLM as a library: completion, acompletion, responses, embedding."""

import asyncio
import json

import litellm
from scenes import SECRET, WEATHER, Scenes

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "get_weather", "description": "Tell the weather of a city.", "parameters": PARAMETERS}


def say(text: str) -> list[dict]:
    return [{"role": "user", "content": text}]


async def main() -> None:
    scenes = Scenes()
    at = {"model": "openai/a", "api_base": scenes.base_url, "api_key": "unused", "num_retries": 0}
    with scenes("chat: tool"):
        assert litellm.completion(**at, messages=say("Tell me the secret")).choices[0].message.content == SECRET
    with scenes("chat: client tool"):
        messages, tools = say("How is the weather?"), [{"type": "function", "function": TOOL}]
        asked = litellm.completion(**at, messages=messages, tools=tools).choices[0].message
        (made,) = asked.tool_calls
        city = json.loads(made.function.arguments)["city"]
        messages += [asked, {"role": "tool", "tool_call_id": made.id, "content": f"21 degrees in {city}"}]
        assert litellm.completion(**at, messages=messages, tools=tools).choices[0].message.content == WEATHER
    with scenes("chat: stream"):
        stream = litellm.completion(**at, messages=say("Tell me the secret"), stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == SECRET
    with scenes("chat: error"):
        try:
            litellm.completion(**at | {"model": "openai/nobody"}, messages=say("Hi"))
        except litellm.NotFoundError as error:
            assert "nobody" in str(error)
        else:
            raise AssertionError("no error")
    with scenes("chat: cancel"):
        asking = asyncio.create_task(litellm.acompletion(**at, messages=say("Talk forever")))
        await asyncio.to_thread(scenes.wait_for_turns, 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.to_thread(scenes.wait_for_turns, 0)
    with scenes("responses: tool"):
        answer = litellm.responses(**at, input="Tell me the secret")
        assert answer.output_text == SECRET
    with scenes("responses: client tool"):
        answer = litellm.responses(**at, input="How is the weather?", tools=[{"type": "function", **TOOL}])
        assert [item.name for item in answer.output if item.type == "function_call"] == ["get_weather"]
    with scenes("responses: stream"):
        events = list(litellm.responses(**at, input="Tell me the secret", stream=True))
        assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == SECRET
        assert events[-1].type == "response.completed"
    with scenes("embeddings"):
        made = litellm.embedding(**at | {"model": "openai/text-embedding-3-small"}, input=["one"])
        assert made.data[0]["embedding"] == [0.5, -1.0, 0.25]
    scenes.end()


asyncio.run(main())
