"""What a client's scenes share: each is shown as a line of JSON, `{"scene", "error"}`; error null when it went well.

scenes = Scenes()                     # the server's address is the first argument
with scenes("stream"):
    assert ...
scenes.end()
"""

import json
import re
import sys
import time
import traceback
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

SECRET = "I was told: the secret number is 42."
WEATHER = "I was told: 21 degrees in Paris."
HELLO = "Hello from the model."
SECONDS = 30


class Scenes:
    def __init__(self) -> None:
        self.url = sys.argv[1]
        self.base_url = f"{self.url}/v1"
        self.failed = False

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        error = None
        try:
            yield
        except Exception as raised:
            traceback.print_exc()
            error = f"{type(raised).__name__}: {raised}"[:300]
            self.failed = True
        sys.stdout.write(json.dumps({"scene": name, "error": error}) + "\n")
        sys.stdout.flush()

    def running_turns(self) -> int:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=SECONDS) as answer:
            return int(float(re.search(r"^gaia_turns_running (\S+)$", answer.read().decode(), re.MULTILINE)[1]))

    def wait_for_turns(self, count: int) -> None:
        """Return when *count* turns run; raises TimeoutError."""
        end = time.monotonic() + SECONDS
        while (running := self.running_turns()) != count:
            if time.monotonic() > end:
                raise TimeoutError(f"{running} turns run, not {count}")
            time.sleep(0.02)

    def end(self) -> None:
        sys.exit(self.failed)
