"""The UI API: what GAIA's page and its clients speak (sessions, conversations, their streams), over one Runtime.

| room or module | what it owns |
|---|---|
| `_routes`, `_route` | the table of routes, and Litestar's handlers of it |
| `_request` | what a route reads of its request, and who asks |
| `_request_bodies`, `_response_bodies` | what comes in and what is answered |
| `_sessions` | sessions, their messages and branches, export and import |
| `_chat` | send, attach, prompts, cancel |
| `streaming` | events → frames; what happens to sessions, live |
| `_agents`, `_system`, `_model_state`, `_settings_store` | agents, the machine, its model, the page's settings |
| `_openapi` | the document of all this |
"""

from gaia_http.ui._routes import ui_handlers, ui_routes

__all__ = ["ui_handlers", "ui_routes"]
