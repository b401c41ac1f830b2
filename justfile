# The recipes of this workspace. Enter by ./run RECIPE, which installs `just` itself where a recipe needs it.

set positional-arguments

gaia := quote(justfile_directory() / ".venv/bin/gaia")

# List the recipes
default:
    @./run

# Serve the folder where you are, or the agents of its gaia.toml
[no-cd]
serve *ARGS: _runtime
    exec {{gaia}} serve "$@"

# Chat in the terminal, likewise
[no-cd]
chat *ARGS: _runtime
    exec {{gaia}} chat "$@"

# Any other command of gaia: sessions, replay, tools, keys, model, mcp, reload
[no-cd]
gaia *ARGS: _runtime
    exec {{gaia}} "$@"

# Install everything into .venv
setup: (_install "dev")

# What gaia needs, and no more
_runtime: (_install "runtime")

_install SET:
    @./run --install "$1"

# Run the tests, in random order and on all cores; files and tests that are named run in one process
test *ARGS: setup
    .venv/bin/python -m pytest -n auto --dist worksteal "$@"

# Format, lint, types, import direction, module state
check: setup
    .venv/bin/ruff format --check .
    .venv/bin/ruff check .
    .venv/bin/mypy
    .venv/bin/lint-imports --no-cache
    .venv/bin/python -m pytest -q tests/laws

# Format and mend what can be mended
format: setup
    .venv/bin/ruff format .
    .venv/bin/ruff check --fix .

# The tables of numbers.md, with ratios, in one run
bench *ARGS: setup
    .venv/bin/python -m benchmarks "$@"

# Undo each fix in a copy and run its tests: a table of what fails
reverts *NAMES: setup
    .venv/bin/python -m tests.reverts "$@"

# Write the schema snapshots anew
snapshots: setup
    .venv/bin/python -m pytest tests --snapshot-update -q

# Pin the requirements anew
lock: setup
    # The smaller sets take the pins of `dev` that they need: what is served is what was tested.
    for set in dev tools runtime; do [ $set = dev ] || cp requirements/dev.txt requirements/$set.txt; .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header requirements/$set.in -o requirements/$set.txt || exit; done

# Give all distributions one version: ./run version 0.2.0
version VERSION: setup
    .venv/bin/python requirements/set_version.py "$1"

# Build the wheels of all distributions into dist/
wheels: _runtime
    .venv/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist . ./http ./server ./toolsets/*/

# Further real clients, each installed on its own: a table of what works
test-clients *NAMES: setup
    .venv/bin/python tests/clients/more/run.py "$@"

# Pin those clients anew
lock-clients: setup
    for name in openai_agents langchain litellm pydantic_ai llm aider; do .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header tests/clients/more/python/$name.in -o tests/clients/more/python/$name.txt; done

# The two commands from nothing on a bare Debian (bookworm, trixie, sid); see tests/machines/README.md
machine *ARGS:
    .venv/bin/python tests/machines/machine.py "$@"

# Build the documentation into dist/docs; a warning is an error
docs *ARGS: setup
    .venv/bin/python -m sphinx -W --keep-going -q -b html docs dist/docs "$@"
