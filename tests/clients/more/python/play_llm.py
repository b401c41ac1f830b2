"""`llm`, the command: the agent as one of its extra OpenAI models."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from scenes import SECRET, WEATHER, Scenes

MODELS = """\
- model_id: gaia
  model_name: a
  api_base: {base_url}
  supports_tools: true
  supports_schema: true
- model_id: nobody
  model_name: nobody
  api_base: {base_url}
"""
WEATHER_TOOL = "def get_weather(city: str) -> str:\n    'Tell the weather.'\n    return f'21 degrees in {city}'\n"
SECONDS = 60


def main() -> None:
    scenes = Scenes()
    llm = (sys.executable, "-m", "llm")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "extra-openai-models.yaml").write_text(MODELS.format(base_url=scenes.base_url))
        environ = os.environ | {"LLM_USER_PATH": folder, "OPENAI_API_KEY": "unused"}

        def ask(*arguments: str) -> subprocess.CompletedProcess:
            return subprocess.run(
                (*llm, *arguments), env=environ, capture_output=True, text=True, timeout=SECONDS, check=False
            )

        with scenes("chat: tool"):
            assert ask("-m", "gaia", "--no-stream", "Tell me the secret").stdout.strip() == SECRET
        with scenes("chat: stream"):
            assert ask("-m", "gaia", "Tell me the secret").stdout.strip() == SECRET
        with scenes("chat: client tool"):
            said = ask("-m", "gaia", "--functions", WEATHER_TOOL, "How is the weather?")
            assert said.stdout.strip() == WEATHER, said
        with scenes("chat: form"):
            said = ask("-m", "gaia", "--schema", "city, degrees int", "As JSON")
            assert json.loads(said.stdout) == {"city": "Paris", "degrees": 21}, said
        with scenes("chat: error"):
            said = ask("-m", "nobody", "Hi")
            assert said.returncode == 1
            assert "there is no agent 'nobody'" in said.stderr, said
        with scenes("chat: cancel"):
            running = subprocess.Popen(
                (*llm, "-m", "gaia", "Talk forever"),
                env=environ,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            with running:
                scenes.wait_for_turns(1)
                os.killpg(running.pid, signal.SIGINT)  # as Ctrl-C in a terminal: its children, too
                running.wait(SECONDS)
            scenes.wait_for_turns(0)
    scenes.end()


main()
