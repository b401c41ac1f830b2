"""The OpenAI API: chat completions, embeddings, files and the list of models.

| room or module | what it owns |
|---|---|
| `chat` | POST /v1/chat/completions |
| `responses` | /v1/responses and /v1/conversations |
| `_embeddings` | POST /v1/embeddings |
| `_file_routes` | /v1/files |
| `_models` | GET /v1/models |
| `_usage` | `usage` |
| `_openapi` | the document of all this |
"""
