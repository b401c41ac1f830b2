"""What the documentation says about the code, read from the code: Markdown, made when the site is built.

| module | page |
|---|---|
| `configuration` | every key of gaia.toml: the types of `gaia_core.catalog`, and `reference/gaia.toml` |
| `commands` | the command line, from click |
| `routes` | the HTTP routes, from the application and its OpenAPI documents |
| `python_api` | the public names of `gaia_core`, from their docstrings |
| `event_types` | the events of a turn |

A page asks for its part by a comment such as `<!-- generated: configuration -->`.
"""
