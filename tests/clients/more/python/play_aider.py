"""aider, one message at a time."""

import os
import signal
import subprocess
import sys
import tempfile

from scenes import SECRET, Scenes

SECONDS = 120
QUIET = (
    "--no-git",
    "--yes-always",
    "--no-check-update",
    "--no-show-model-warnings",
    "--no-pretty",
    "--analytics-disable",
)


def main() -> None:
    scenes = Scenes()
    with tempfile.TemporaryDirectory() as folder:
        environ = os.environ | {"HOME": folder, "OPENAI_API_BASE": scenes.base_url, "OPENAI_API_KEY": "unused"}
        environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}

        def command(model: str, message: str, *options: str) -> tuple[str, ...]:
            chosen = ("--model", f"openai/{model}", "--edit-format", "ask", "--message", message)
            return (sys.executable, "-m", "aider", *QUIET, *chosen, *options)

        def ask(model: str, message: str, *options: str) -> str:
            ended = subprocess.run(
                command(model, message, *options),
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            return " ".join(ended.stdout.split())

        with scenes("chat: stream, tool"):
            assert SECRET in (said := ask("a", "Tell me the secret")), said
        with scenes("chat: tool"):
            assert SECRET in (said := ask("a", "Tell me the secret", "--no-stream")), said
        with scenes("chat: error"):
            assert "nobody" in (said := ask("nobody", "Hi")), said
            assert "NotFoundError" in said, said
        with scenes("chat: cancel"):
            running = subprocess.Popen(
                command("a", "Talk forever"),
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
    scenes.end()


main()
