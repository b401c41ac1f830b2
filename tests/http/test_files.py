"""/v1/files: uploads that belong to their caller, bounded, for messages to refer to."""

import pytest

from gaia_core.messages import TextPart
from gaia_http import Settings
from gaia_http.request._uploaded_files import FullError, UploadedFiles


@pytest.fixture(params=["memory", "folder"])
async def server(serve, request, tmp_path):
    folder = tmp_path if request.param == "folder" else None
    return await serve("ok", settings=Settings(data=folder, max_file_bytes=1_000))


async def test_a_files_life(server):
    async with server.sdk() as client:
        made = await client.files.create(file=("notes.txt", b"hello"), purpose="user_data")
        found = await client.files.retrieve(made.id)
        content = await client.files.content(made.id)
        listed = await client.files.list()
        gone = await client.files.delete(made.id)
        after = await client.files.list()

    assert (made.object, made.bytes, made.filename, made.purpose) == ("file", 5, "notes.txt", "user_data")
    assert found == made
    assert content.content == b"hello"
    assert content.response.headers["content-disposition"] == "attachment"
    assert [file.id for file in listed.data] == [made.id]
    assert (gone.id, gone.deleted) == (made.id, True)
    assert after.data == []


async def test_pages(server):
    async with server.sdk() as client:
        ids = {(await client.files.create(file=(f"{n}.txt", b"x"), purpose="user_data")).id for n in range(3)}
        await client.files.create(file=("other.txt", b"x"), purpose="vision")
        paged = [file.id async for file in client.files.list(purpose="user_data", limit=2)]
        upwards = await client.files.list(order="asc", limit=10)

    assert len(paged) == 3
    assert set(paged) == ids
    assert len(upwards.data) == 4


async def test_a_message_refers_to_a_file_by_its_id(server, body):
    async with server.sdk() as client:
        made = await client.files.create(file=("notes.txt", b"hello"), purpose="user_data")
    part = {"type": "file", "file": {"file_id": made.id}}

    status, _, answer = await server.post(body(messages=[{"role": "user", "content": [part]}]))

    assert status == 200, answer
    assert server.model.requests[0].messages[0].content == (TextPart('<file name="notes.txt">\nhello\n</file>'),)


@pytest.mark.parametrize(
    "id", ["file-" + "0" * 24, "file-x", "..", "%2e%2e%2fjournal.sqlite", "file-" + "0" * 24 + ".json"]
)
async def test_a_file_that_is_not_there(server, body, id):
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        async with server.http.request(method, f"/v1/files/{id}{path}") as response:
            assert response.status in (404, 405), path
            assert (await response.json())["error"]["type"] == "invalid_request_error"
    status, _, answer = await server.post(
        body(messages=[{"role": "user", "content": [{"type": "file", "file": {"file_id": id}}]}])
    )

    assert (status, answer["error"]["param"]) == (404, "messages[0].content[0].file.file_id")


def form(*parts: tuple[str, bytes], boundary: str = "b") -> bytes:
    made = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + data + b"\r\n"
        for head, data in parts
    )
    return made + f"--{boundary}--\r\n".encode()


FILE = ('name="file"; filename="a.txt"', b"x")
PURPOSE = ('name="purpose"', b"user_data")
MEDIA = "multipart/form-data; boundary=b"


@pytest.mark.parametrize(
    ("media", "data", "status", "words"),
    [
        ("application/json", b"{}", 415, "multipart"),
        ("multipart/form-data", form(FILE, PURPOSE), 415, "boundary"),
        (MEDIA, b"", 400, "can't be read"),
        (MEDIA, b"garbage", 400, "can't be read"),
        (MEDIA, form(FILE, PURPOSE)[:-10], 400, "can't be read"),
        (MEDIA, form(PURPOSE), 400, "file is missing"),
        (MEDIA, form(FILE), 400, "purpose is missing"),
        (MEDIA, form(FILE, ('name="purpose"', b"fun")), 400, "'fun'"),
        (MEDIA, form(FILE, ('name="purpose"', b"\xff")), 400, "can't be read"),
        (MEDIA, form(('name="file"; filename="a"', b"x" * 1_001), PURPOSE), 413, "the file has more than 1000"),
        (MEDIA, form(('name="purpose"', b"x" * 2_000), FILE), 413, "'purpose' has more than 1024"),
        (MEDIA, form(*[(f'name="x{n}"', b"") for n in range(20)], FILE), 400, "can't be read"),
        (MEDIA, form(FILE, PURPOSE, ('name="expires_after[seconds]"', b"1")), 400, "expires_after.seconds"),
        (MEDIA, form(FILE, PURPOSE) + b"x" * 100_000, 413, "bytes"),
    ],
)
async def test_bad_uploads(server, media, data, status, words):
    async with server.http.post("/v1/files", data=data, headers={"content-type": media}) as response:
        answer = await response.json()

    assert response.status == status, answer
    assert words in answer["error"]["message"]
    async with server.http.get("/v1/files") as response:
        assert (await response.json())["data"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "order=up", "after=file-x"])
async def test_bad_lists(server, query):
    async with server.http.get(f"/v1/files?{query}") as response:
        assert response.status == 400
        assert (await response.json())["error"]["param"] == query.partition("=")[0]


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\x\\a.txt", "", "ü.txt", "n" * 400])
async def test_a_name_leads_nowhere(server, name, tmp_path):
    async with server.sdk() as client:
        made = await client.files.create(file=(name or "a", b"x"), purpose="user_data")

    assert "/" not in made.filename
    assert "\\" not in made.filename
    assert len(made.filename) <= 255
    assert not (tmp_path.parent / "etc").exists()


async def test_an_expiry(server):
    async with server.sdk() as client:
        made = await client.files.create(
            file=("a.txt", b"x"), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3_600}
        )

    assert made.expires_at == made.created_at + 3_600


# The store.


@pytest.mark.parametrize("kept", ["memory", "folder"])
async def test_files_are_their_owners_and_bounded(tmp_path, kept):
    files = UploadedFiles(tmp_path if kept == "folder" else None, most=2, most_bytes=10)
    made = await files.add("ann", "a", "user_data", b"12345")

    assert await files.get("bob", made.id) is None
    assert await files.content("bob", made.id) is None
    assert not await files.delete("bob", made.id)
    assert await files.content("ann", made.id) == b"12345"
    with pytest.raises(FullError, match="10 bytes"):
        await files.add("ann", "b", "user_data", b"123456")
    await files.add("ann", "b", "user_data", b"")
    with pytest.raises(FullError, match="2 files"):
        await files.add("ann", "c", "user_data", b"")
    await files.add("bob", "c", "user_data", b"")


@pytest.mark.parametrize("kept", ["memory", "folder"])
async def test_what_has_expired_is_gone(tmp_path, kept):
    files = UploadedFiles(tmp_path if kept == "folder" else None)
    made = await files.add("ann", "a", "user_data", b"x", seconds=0)

    assert await files.get("ann", made.id) is None
    assert await files.list("ann") == ()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_files_outlive_the_process(tmp_path):
    made = await UploadedFiles(tmp_path).add("ann", "a", "user_data", b"x")

    assert await UploadedFiles(tmp_path).list("ann") == (made,)
    assert await UploadedFiles(tmp_path).content("ann", made.id) == b"x"
