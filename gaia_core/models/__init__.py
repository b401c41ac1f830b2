"""Models: whatever turns a request into a stream of deltas.

| module | a model that is |
|---|---|
| `_protocol` | the contract: `Model`, `ModelRequest`, the deltas |
| `_scripted` | a function or a recording, for tests |
| `_endpoint` | an OpenAI-compatible HTTP endpoint |
| `_prompted` | another model without reliable tool calls, prompted into making them |
| `embedded` | llama.cpp in a managed child process, and its weights |
| `_discovery` | found running on this machine |
"""
