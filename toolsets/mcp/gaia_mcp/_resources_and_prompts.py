"""A server's resources and prompts, as its tools read them."""

from contextlib import suppress
from typing import Any

import mcp_types
from mcp.client import Client
from mcp.shared.exceptions import MCPError

from gaia_core import Context
from gaia_mcp._calls import ServerCall
from gaia_mcp._connection_protocol import ConnectionProtocol
from gaia_mcp._result_text import resource_text, text_of


async def list_resources(connection: ConnectionProtocol, ctx: Context[Any]) -> str:
    """The resources and their templates, a line each."""

    async def send(client: Client, _call: ServerCall, _responses: Any, _state: str | None) -> Any:
        templates: list[mcp_types.ResourceTemplate] = []
        with suppress(MCPError):
            templates = (await client.list_resource_templates()).resource_templates
        return (await client.list_resources()).resources, templates

    resources, templates = await connection.call(ctx, send)
    found = [f"{each.uri}: {each.description or each.name}" for each in resources]
    found += [f"{each.uri_template}: {each.description or each.name}" for each in templates]
    return "\n".join(found) or "There are none."


async def read_resource(connection: ConnectionProtocol, ctx: Context[Any], uri: str) -> str:
    """A resource's contents."""

    async def send(client: Client, _call: ServerCall, responses: Any, state: str | None) -> Any:
        return await client.session.read_resource(
            uri, input_responses=responses, request_state=state, allow_input_required=True
        )

    return "\n".join(resource_text(each) for each in (await connection.call(ctx, send)).contents)


async def list_prompts(connection: ConnectionProtocol, ctx: Context[Any]) -> str:
    """The prompts and what they take, a line each."""

    async def send(client: Client, _call: ServerCall, _responses: Any, _state: str | None) -> Any:
        return await client.list_prompts()

    prompts = (await connection.call(ctx, send)).prompts
    return "\n".join(
        f"{each.name}({', '.join(one.name for one in each.arguments or ())}): {each.description or each.name}"
        for each in prompts
    ) or "There are none."  # fmt: skip


async def get_prompt(connection: ConnectionProtocol, ctx: Context[Any], name: str, arguments: dict[str, str]) -> str:
    """A prompt's messages."""

    async def send(client: Client, _call: ServerCall, responses: Any, state: str | None) -> Any:
        return await client.session.get_prompt(
            name, arguments, input_responses=responses, request_state=state, allow_input_required=True
        )

    result = await connection.call(ctx, send)
    return "\n".join(f"{each.role}: {text_of([each.content])}" for each in result.messages)
