"""pydantic-ai, on chat completions and on Responses."""

import asyncio

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from scenes import SECRET, WEATHER, Scenes


class City(BaseModel):
    city: str
    degrees: int


async def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"21 degrees in {city}"


async def play(scenes: Scenes, kind: str, make: type) -> None:
    provider = OpenAIProvider(base_url=scenes.base_url, api_key="unused")
    agent = Agent(make("a", provider=provider), instructions="Be brief.", tools=[get_weather])
    with scenes(f"{kind}: tool"):
        assert (await agent.run("Tell me the secret")).output == SECRET
    with scenes(f"{kind}: client tool"):
        assert (await agent.run("How is the weather?")).output == WEATHER
    with scenes(f"{kind}: stream"):
        async with agent.run_stream("Tell me the secret") as result:
            pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
        assert "".join(pieces) == SECRET
    with scenes(f"{kind}: form"):
        shaped = Agent(make("a", provider=provider), output_type=NativeOutput(City))
        assert (await shaped.run("As JSON")).output == City(city="Paris", degrees=21)
    with scenes(f"{kind}: error"):
        try:
            await Agent(make("nobody", provider=provider)).run("Hi")
        except ModelHTTPError as error:
            assert (error.status_code, error.body["code"]) == (404, "model_not_found")
        else:
            raise AssertionError("no error")
    with scenes(f"{kind}: cancel"):
        asking = asyncio.create_task(agent.run("Talk forever"))
        await asyncio.to_thread(scenes.wait_for_turns, 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.to_thread(scenes.wait_for_turns, 0)


async def main() -> None:
    scenes = Scenes()
    await play(scenes, "chat", OpenAIChatModel)
    await play(scenes, "responses", OpenAIResponsesModel)
    scenes.end()


asyncio.run(main())
