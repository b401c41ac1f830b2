"""LangChain's ChatOpenAI and OpenAIEmbeddings, on chat completions and on Responses."""

import openai
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel
from scenes import SECRET, WEATHER, Scenes


class City(BaseModel):
    """A city and its temperature."""

    city: str
    degrees: int


@tool
def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"21 degrees in {city}"


def play(scenes: Scenes, kind: str, **options: object) -> None:
    def make(model: str) -> ChatOpenAI:
        return ChatOpenAI(base_url=scenes.base_url, api_key="unused", model=model, max_retries=0, **options)

    chat = make("a")
    with scenes(f"{kind}: tool"):
        assert chat.invoke("Tell me the secret").text == SECRET
    with scenes(f"{kind}: client tool"):
        bound, history = chat.bind_tools([get_weather]), [HumanMessage("How is the weather?")]
        asked = bound.invoke(history)
        (made,) = asked.tool_calls
        history += [asked, ToolMessage(get_weather.invoke(made["args"]), tool_call_id=made["id"])]
        assert bound.invoke(history).text == WEATHER
    with scenes(f"{kind}: stream"):
        pieces = [chunk.text for chunk in chat.stream("Tell me the secret")]
        assert "".join(pieces) == SECRET
    with scenes(f"{kind}: form"):
        assert chat.with_structured_output(City).invoke("As JSON") == City(city="Paris", degrees=21)
    with scenes(f"{kind}: error"):
        try:
            make("nobody").invoke("Hi")
        except openai.NotFoundError as error:
            assert error.code == "model_not_found"
        else:
            raise AssertionError("no error")
    with scenes(f"{kind}: cancel"):
        stream = chat.stream("Talk forever")
        assert any(chunk.text for chunk in stream)
        stream.close()
        scenes.wait_for_turns(0)


scenes = Scenes()
play(scenes, "chat")
play(scenes, "responses", use_responses_api=True)
with scenes("embeddings"):
    vectors = OpenAIEmbeddings(
        base_url=scenes.base_url, api_key="unused", model="text-embedding-3-small", check_embedding_ctx_length=False
    )
    assert vectors.embed_documents(["one", "two"]) == [[0.5, -1.0, 0.25]] * 2
scenes.end()
