"""Ask a served machine one question: `./run serve` in a new folder, then a chat completion that needs a tool call.

Run by machine.py on a bare machine, or by hand on any: `python3 tests/machines/question.py`. Standard library only.
Exit status 0: the embedded model called list_files and named the files. What the server says is passed on.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

RUN = Path(__file__).resolve().parents[2] / "run"
QUESTION = "Which files are here?"
FILES = {"notes.txt": "The meeting is on Thursday at 10.\n", "budget.csv": "name,amount\nAnna,3\nBen,5\n"}
READY_SECONDS = 1_200
ANSWER_SECONDS = 120
STOP_SECONDS = 60


def address(server: subprocess.Popen[str]) -> str:
    """The base URL of the API, once the embedded model is ready."""
    url = ""
    for line in server.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        if "gaia serves " in line:
            url = line.split("gaia serves ")[1].split()[0]
        if "embedded model: ready" in line and url:
            return url
    raise SystemExit("question: the server ended, or its model was not ready in time")


def answer(url: str) -> tuple[str, list[dict]]:
    """The streamed text, and the agent's own activity on the way."""
    asked = {"model": "assistant", "messages": [{"role": "user", "content": QUESTION}], "stream": True}
    asked |= {"temperature": 0, "max_tokens": 300}
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(asked).encode(), headers)
    text, activity = "", []
    # Straight to it: a proxy has no business on loopback.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=ANSWER_SECONDS) as stream:
        for line in stream:
            data = line.decode().removeprefix("data:").strip()
            if not line.startswith(b"data:") or data == "[DONE]":
                continue
            chunk = json.loads(data)
            activity += [chunk["x_gaia"]] if "x_gaia" in chunk else []
            text += "".join(choice["delta"].get("content") or "" for choice in chunk.get("choices", ()))
    return text, activity


def main() -> int:
    environ = os.environ | {"GAIA_EMBEDDED_MODEL": "0.5b", "GAIA_DISCOVER": "0", "GAIA_JOURNAL": "memory"}
    with tempfile.TemporaryDirectory() as folder:
        for name, text in FILES.items():
            Path(folder, name).write_text(text)
        with subprocess.Popen(
            (RUN, "serve", "--port", "0"),
            cwd=folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        ) as server:
            limit = threading.Timer(READY_SECONDS, os.killpg, (server.pid, signal.SIGKILL))
            limit.start()
            try:
                url = address(server)
                limit.cancel()
                told, activity = answer(url)
                server.send_signal(signal.SIGTERM)
                last, _ = server.communicate(timeout=STOP_SECONDS)
            finally:
                limit.cancel()
                if server.poll() is None:
                    os.killpg(server.pid, signal.SIGKILL)
    sys.stdout.write(f"{last}{QUESTION}\n{json.dumps(activity, indent=1)}\n{told}\n")
    ended = [event for event in activity if event.get("type") == "ToolEnded" and event.get("outcome") == "ok"]
    wrong = [] if ended else ["no tool call ended well"]
    wrong += [f"the answer doesn't name {name}" for name in FILES if name not in told]
    wrong += [f"the server ended with {server.returncode}"] if server.returncode else []
    for words in wrong:
        sys.stdout.write(f"question: {words}\n")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
