"""What failed, in words: for the operator, and for the model."""

import httpx2
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from gaia_core import NestingError
from gaia_core.nesting import MAX_NESTING
from gaia_mcp._http_transport import RefusalRecord
from gaia_mcp._server_config import McpServerConfig

_MOST = 2_000
_DECODER_LIMIT = "recursion limit exceeded"


def words_of(error: BaseException, server: McpServerConfig, answers: RefusalRecord) -> str:
    """*error* for the operator: what failed and what to do."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, FileNotFoundError) and server.command:
        return f"the program {server.command[0]!r} was not found (or the folder cwd)"
    if isinstance(error, MCPError):
        return said(error, answers)
    if isinstance(error, ValidationError):
        return f"what it sent doesn't fit the protocol ({misfit(error)})"
    if isinstance(error, httpx2.TransportError):
        return f"{server.url} can't be reached ({str(error) or type(error).__name__})"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return str(error) or type(error).__name__


def said(error: MCPError, answers: RefusalRecord) -> str:
    """What the server says; its HTTP status where that is all it said."""
    if answers.refusal and error.message == "Server returned an error response":
        return f"the server answered with {answers.refusal}"
    if _DECODER_LIMIT in error.message:  # the SDK's transport quotes pydantic's error, and the answer
        return f"the server's answer is {NestingError(MAX_NESTING)}"
    return f"the server says: {error.message[:_MOST]}"


def misfit(error: ValidationError) -> str:
    """Where a message doesn't fit the protocol, and why."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
