"""Claude Code, one message at a time, as README.md says to set it up. play_claude.py URL NODE PROGRAM"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "python"))

from scenes import SECRET, Scenes

SECONDS = 120


def main() -> None:
    scenes = Scenes()
    program = sys.argv[2:4]
    # A child of the one that was stopped may still be writing there.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("ANTHROPIC_", "CLAUDE_"))}
        environ |= {
            "HOME": folder,
            "ANTHROPIC_BASE_URL": scenes.base_url.removesuffix("/v1"),
            "ANTHROPIC_AUTH_TOKEN": "unused",
            "ANTHROPIC_SMALL_FAST_MODEL": "a",
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": "a",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_RETRIES": "0",
        }

        def command(model: str, message: str) -> tuple[str, ...]:
            return (*program, "--model", model, "--allowedTools", "Bash", "-p", message)

        def ask(model: str, message: str) -> str:
            ended = subprocess.run(
                command(model, message),
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            return ended.stdout

        with scenes("messages: stream, tool"):
            assert SECRET in (said := ask("a", "Tell me the secret")), said
        with scenes("messages: client tool (its shell)"):
            assert "I was told:" in (said := ask("a", "Use the shell")), said
            assert "21 degrees" in said, said
        with scenes("messages: error"):
            assert "nobody" in (said := ask("nobody", "Hi")), said
        with scenes("messages: cancel"):
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
