"""The Python agents SDK, on chat completions and on Responses."""

import asyncio

import openai
from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from scenes import SECRET, WEATHER, Scenes


@function_tool
def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"21 degrees in {city}"


async def play(scenes: Scenes, kind: str, make: type, client: openai.AsyncOpenAI) -> None:
    agent = Agent("Ann", instructions="Be brief.", model=make(model="a", openai_client=client), tools=[get_weather])
    with scenes(f"{kind}: tool"):
        assert (await Runner.run(agent, "Tell me the secret")).final_output == SECRET
    with scenes(f"{kind}: client tool"):
        assert (await Runner.run(agent, "How is the weather?")).final_output == WEATHER
    with scenes(f"{kind}: stream"):
        result = Runner.run_streamed(agent, "Tell me the secret")
        kinds = [event.type async for event in result.stream_events()]
        assert result.final_output == SECRET
        assert kinds.count("raw_response_event") > 2
    with scenes(f"{kind}: client tool in a stream"):
        result = Runner.run_streamed(agent, "How is the weather?")
        assert [event async for event in result.stream_events()]
        assert result.final_output == WEATHER
    with scenes(f"{kind}: error"):
        nobody = agent.clone(model=make(model="nobody", openai_client=client))
        try:
            await Runner.run(nobody, "Hi")
        except openai.NotFoundError as error:
            assert error.code == "model_not_found"
        else:
            raise AssertionError("no error")
    with scenes(f"{kind}: cancel"):
        result = Runner.run_streamed(agent, "Talk forever")
        kinds = []
        async for event in result.stream_events():
            kinds.append(event.type)
            if event.type == "raw_response_event":
                result.cancel()
        assert "raw_response_event" in kinds
        await asyncio.to_thread(scenes.wait_for_turns, 0)


async def main() -> None:
    set_tracing_disabled(True)
    scenes = Scenes()
    async with openai.AsyncOpenAI(base_url=scenes.base_url, api_key="unused", max_retries=0) as client:
        await play(scenes, "chat", OpenAIChatCompletionsModel, client)
        await play(scenes, "responses", OpenAIResponsesModel, client)
    scenes.end()


asyncio.run(main())
