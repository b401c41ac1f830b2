"""The UI API: what GAIA's page and its clients speak (sessions, conversations, their streams), over one Runtime.

| module | what lives there |
|---|---|
| `_routes` | the table of routes, and Litestar's handlers of it |
| `_route` | a route as a value |
| `_call` | what a route reads of its request, and who asks |
| `_bodies`, `_shapes` | what comes in and what goes out |
| `_sessions` | sessions, their messages and branches, export and import |
| `_messages` | facts → messages and their steps |
| `_chat` | send, attach, prompts, cancel |
| `_frames`, `_words`, `_tally` | events → frames of a stream |
| `_watch` | what happens to sessions, live |
| `_stream` | the line of all these streams |
| `_agents`, `_system`, `_model`, `_store` | agents, the machine, its model, the page's settings |
| `_openapi` | the document of all this |
"""

from gaia_http.ui._routes import ui_handlers, ui_routes

__all__ = ["ui_handlers", "ui_routes"]
