"""Codex CLI, one message at a time, as README.md says to set it up. play_codex.py URL PROGRAM"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "python"))

from scenes import SECRET, Scenes

SECONDS = 120
CONFIG = """\
model = "a"
model_provider = "gaia"

[model_providers.gaia]
name = "gaia"
base_url = "{base_url}"
wire_api = "responses"
supports_websockets = {sockets}
"""


def main() -> None:
    scenes = Scenes()
    for way, sockets in (("responses", False), ("responses over a WebSocket", True)):
        play(scenes, sys.argv[2], way, sockets=sockets)
    scenes.end()


def play(scenes: Scenes, program: str, way: str, *, sockets: bool) -> None:
    """The scenes on one transport."""
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as folder:
        (Path(home) / "config.toml").write_text(CONFIG.format(base_url=scenes.base_url, sockets=str(sockets).lower()))
        environ = os.environ | {"CODEX_HOME": home}
        options = ("exec", "--skip-git-repo-check", "--json", "--dangerously-bypass-approvals-and-sandbox")

        def ask(*arguments: str) -> list[dict]:
            ended = subprocess.run(
                (program, *options, *arguments),
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            return [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]

        def texts(events: list[dict]) -> list[str]:
            items = [event["item"] for event in events if event["type"] == "item.completed"]
            return [item["text"] for item in items if item["type"] == "agent_message"]

        with scenes(f"{way}: stream, tool"):
            events = ask("Tell me the secret")
            assert texts(events) == [SECRET], events
            assert events[-1]["type"] == "turn.completed", events
        with scenes(f"{way}: client tool (its shell)"):
            events = ask("Use the shell")
            assert "21 degrees" in texts(events)[-1], events
            ran = [event["item"] for event in events if event.get("item", {}).get("type") == "command_execution"]
            assert ran[-1]["exit_code"] == 0, events
        with scenes(f"{way}: second turn"):
            assert texts(ask("resume", "--last", "Hi")) == ["Hello from the model."]
        with scenes(f"{way}: error"):
            events = ask("Please break")
            assert events[-1]["type"] == "turn.failed", events
            assert "the model broke, as it was asked" in events[-1]["error"]["message"], events
        with scenes(f"{way}: cancel"):
            running = subprocess.Popen(
                (program, *options, "Talk forever"),
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            scenes.wait_for_turns(1)
            os.killpg(running.pid, signal.SIGINT)  # as Ctrl-C in a terminal: its children, too
            running.wait(SECONDS)
            scenes.wait_for_turns(0)


main()
