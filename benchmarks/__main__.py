"""python -m benchmarks [--brief] [TABLE ...]: print these tables, or all; status 1 when one of them failed.

Each runs in a process of its own, so that a failure, an affinity or a grown heap stays with its table. --brief: only
show that the tables run, in a few seconds; their figures mean nothing then.

python -m benchmarks soak [--minutes 10] [--journal postgres]: mixed clients for so long, an endpoint with faults, and a
journal that fails in the middle; not among the tables, because of that.
python -m benchmarks crashes [--kills 200]: servers are killed while clients work; what these have equals the record.
python -m benchmarks isolation [--turns 1000000]: turns of agents that share tool names; nothing crosses between them.
python -m benchmarks paired FOLDER: this version of the server beside the one in FOLDER.
python -m benchmarks questions WEIGHTS.gguf: how many questions about a folder a small model answers right.
"""

import argparse
import importlib
import subprocess
import sys

from benchmarks.size import Size

TABLES = ("core", "journal", "sessions", "server", "slots", "seeing", "keys", "tool_search", "prefix")
OTHERS = ("soak", "crashes", "isolation", "paired", "questions")
"""Commands with arguments of their own."""


def main(arguments: list[str]) -> None:
    if arguments and arguments[0] in OTHERS:
        importlib.import_module(f"benchmarks.{arguments[0]}").main(arguments[1:])
        return
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", epilog=f"Also: {' and '.join(OTHERS)}, with arguments of their own."
    )
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{', '.join(TABLES)}; without a name, all of them")
    parser.add_argument("--brief", action="store_true", help="only show that the tables run; the figures mean nothing")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.tables) - set(TABLES):
        parser.error(f"unknown table {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    names = chosen.tables or TABLES
    if len(names) == 1:
        # A table's module is imported only where it runs: one that can't be imported hides no other.
        importlib.import_module(f"benchmarks.{names[0]}").main(Size(chosen.brief))
        return
    command = [sys.executable, "-m", "benchmarks", *(["--brief"] if chosen.brief else [])]
    failed = [name for name in names if subprocess.run([*command, name], check=False).returncode]
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)} (each error stands where the table would)")


if __name__ == "__main__":
    main(sys.argv[1:])
