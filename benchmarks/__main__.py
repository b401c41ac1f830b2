"""python -m benchmarks [TABLE ...], each of those in TABLES: prints the tables; without a name, all of them.

python -m benchmarks soak [--minutes 10]: mixed clients and faults for so long; not among the tables, because of that.
"""

import sys

from benchmarks import core, journal, keys, seeing, server, sessions, slots, soak, tool_search

TABLES = {
    "core": core.main,
    "journal": journal.main,
    "sessions": sessions.main,
    "server": server.main,
    "slots": slots.main,
    "seeing": seeing.main,
    "keys": keys.main,
    "tool_search": tool_search.main,
}


def main(names: list[str]) -> None:
    if names[:1] == ["soak"]:
        soak.main(names[1:])
        return
    unknown = set(names) - set(TABLES)
    if unknown:
        raise SystemExit(f"unknown benchmark {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    for name in names or TABLES:
        TABLES[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
