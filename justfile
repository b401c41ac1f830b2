# The recipes of this workspace. Enter by ./run RECIPE, which brings `just` itself.

python := justfile_directory() / ".venv/bin/python"
bin := justfile_directory() / ".venv/bin"

# List the recipes
default:
    @just --list

# Run the server (an embedded model when no other is configured or found)
serve *ARGS: _runtime
    {{bin}}/gaia serve {{ARGS}}

# Install everything into .venv
setup: (_install "dev")

# What `serve` needs, and no more
_runtime: (_install "runtime")

_install SET:
    @sh requirements/install {{SET}}

# Run the tests, in random order and on all cores; files and tests that are named run in one process
test *ARGS: setup
    {{bin}}/python -m pytest -n auto --dist worksteal {{ARGS}}

# Format, lint, types, import direction, module state
check: setup
    {{bin}}/ruff format --check .
    {{bin}}/ruff check .
    {{bin}}/mypy
    {{bin}}/lint-imports --no-cache
    {{bin}}/python -m pytest -q tests/laws

# Format and mend what can be mended
format: setup
    {{bin}}/ruff format .
    {{bin}}/ruff check --fix .

# The tables of numbers.md, with ratios, in one run
bench *ARGS: setup
    {{bin}}/python -m benchmarks {{ARGS}}

# Write the schema snapshots anew
snapshots: setup
    {{bin}}/python -m pytest tests --snapshot-update -q

# Pin the requirements anew
lock: setup
    for set in tools runtime dev; do {{bin}}/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header requirements/$set.in -o requirements/$set.txt; done

# Build the wheels of all distributions into dist/
wheels: setup
    for folder in . http toolsets/*/; do {{bin}}/python -m build --wheel --no-isolation --outdir dist $folder; done

# Further real clients, each installed on its own: a table of what works
test-clients *NAMES: setup
    {{bin}}/python tests/clients/more/run.py {{NAMES}}

# Pin those clients anew
lock-clients: setup
    for name in openai_agents langchain litellm pydantic_ai llm aider; do {{bin}}/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header tests/clients/more/python/$name.in -o tests/clients/more/python/$name.txt; done
