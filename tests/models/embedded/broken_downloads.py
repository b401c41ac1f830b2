"""A download that breaks off, for the servers of these tests."""

from aiohttp import web


async def send_from(request: web.Request, data: bytes, start: int, breaks: list[int]) -> web.StreamResponse:
    """Answer with *data* from *start* on. The connection closes after the first number of bytes in *breaks*, which is
    taken out of it."""
    body = data[start:]
    headers = {"content-length": str(len(body))}
    if start:
        headers["content-range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
    response = web.StreamResponse(status=206 if start else 200, headers=headers)
    await response.prepare(request)
    if breaks:
        await response.write(body[: breaks.pop(0)])
        request.transport.close()
    else:
        await response.write(body)
    return response
