"""Parts of messages beside text: they reach a model that takes them, and no other; files become text."""

import asyncio
import base64
import io

import pytest

from gaia_core import Agent, Catalog, Runtime, ScriptedModel
from gaia_core.messages import AudioPart, FileData, FilePart, ImagePart, ImageURL, InputAudio, TextPart, UserMessage
from gaia_http import Settings
from gaia_http.request._content_parts import PartPaths
from gaia_http.request._part_converter import PartConverter
from gaia_http.request._pdf import PdfError, PdfReader
from gaia_http.request._uploaded_files import UploadedFiles
from gaia_http.request._url_fetch import Fetched, FetchError

PIXEL = "data:image/png;base64,iVBORw0KGgo="


def data_url(data: bytes, media: str) -> str:
    return f"data:{media};base64,{base64.b64encode(data).decode()}"


def pdf(text: str | None) -> bytes:
    """A PDF of one page, with a line of text or empty."""
    from pypdf import PdfWriter
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = PdfWriter()
    page = writer.add_blank_page(200, 200)
    if text is not None:
        font = DictionaryObject({
            NameObject("/Type"): NameObject("/Font"), NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        })  # fmt: skip
        fonts = DictionaryObject({NameObject("/F1"): writer._add_object(font)})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 10 100 Td ({text}) Tj ET".encode())
        page[NameObject("/Contents")] = writer._add_object(stream)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def user(*parts: dict) -> list[dict]:
    return [{"role": "user", "content": [{"type": "text", "text": "Look"}, *parts]}]


def image(url: str = PIXEL) -> dict:
    return {"type": "image_url", "image_url": {"url": url}}


def file(data: str, name: str = "a.txt") -> dict:
    return {"type": "file", "file": {"file_data": data, "filename": name}}


AUDIO = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
TEXT = data_url(b"hello", "text/plain")


@pytest.mark.parametrize(
    ("part", "inputs", "sent"),
    [
        (image(), ("image",), ImagePart(ImageURL(PIXEL))),
        (AUDIO, ("audio",), AudioPart(InputAudio("UklGRg==", "wav"))),
        (file(TEXT), ("file",), FilePart(FileData(TEXT, None, "a.txt"))),
        (file(TEXT), (), TextPart('<file name="a.txt">\nhello\n</file>')),
        (file(base64.b64encode(b"hello").decode()), (), TextPart('<file name="a.txt">\nhello\n</file>')),
        (file(TEXT, 'x">\n'), (), TextPart('<file name="x\\">\\n">\nhello\n</file>')),
    ],
)
async def test_what_reaches_the_model(serve, body, part, inputs, sent):
    server = await serve("ok", inputs=inputs)

    status, _, answer = await server.post(body(messages=user(part)))

    assert status == 200, answer
    assert server.model.requests[0].messages[-1].content == (TextPart("Look"), sent)


async def test_a_pdf_is_given_as_its_text(serve, body):
    server = await serve("ok")

    status, _, answer = await server.post(body(messages=user(file(data_url(pdf("Hello PDF"), "application/pdf")))))

    assert status == 200, answer
    assert "Hello PDF" in server.model.requests[0].messages[-1].content[1].text


@pytest.mark.parametrize(
    ("part", "inputs", "param", "code", "words"),
    [
        (image(), (), "type", "unsupported_content_type", 'inputs = ["image"] to [models.local]'),
        (image(), ("audio", "file"), "type", "unsupported_content_type", "image_url"),
        (AUDIO, ("image",), "type", "unsupported_content_type", "input_audio"),
        (file(data_url(b"\x00\x01", "x/y")), ("image",), "type", "unsupported_content_type", "neither text"),
        (file(data_url(b"\xff\xfe", "x/y")), (), "type", "unsupported_content_type", "neither text"),
        (file(data_url(pdf(None), "application/pdf")), (), "type", "unsupported_content_type", "has no text"),
        (image("data:text/html;base64,aGk="), ("image",), "image_url.url", "invalid_value", "is not an image type"),
        (image("https://example.org/a.png"), ("image",), "image_url.url", "invalid_image_url", "--fetch-urls"),
        (file("@@@"), (), "file.file_data", "invalid_value", "base64"),
        (file("data:text/plain,hi"), (), "file.file_data", "invalid_value", "base64"),
        (file("https://example.org/a.pdf"), (), "file.file_data", "invalid_file_url", "--fetch-urls"),
        (file(data_url(b"no pdf", "application/pdf")), ("file",), "file", "invalid_file", "its content is not one"),
        (file(data_url(b"no pdf", "x/y"), "a.pdf"), (), "file", "invalid_file", "its content is not one"),
        (file(data_url(b"%PDF-1.7 broken", "application/pdf")), (), "file", "invalid_file", "can't be read"),
    ],
)
async def test_what_does_not(serve, body, part, inputs, param, code, words):
    server = await serve("ok", inputs=inputs)

    status, _, answer = await server.post(body(messages=user(part)))

    error = answer["error"]
    assert (status, error["param"], error["code"]) == (400, f"messages[0].content[1].{param}", code), answer
    assert words in error["message"]
    assert server.model.requests == []


@pytest.fixture
async def parts():
    """The parts of an application whose fetcher and files the test gives, for a model that says what it takes."""

    class Web:
        def __init__(self) -> None:
            self.asked: list[str] = []

        async def fetch(self, url, media):
            self.asked.append(url)
            if url.endswith("no"):
                raise FetchError("it answered 404")
            return Fetched("image/png", b"\x89PNG") if media == ("image/",) else Fetched("text/plain", b"hello")

    class Seeing(ScriptedModel):
        async def inputs(self):
            return frozenset({"image"})

    web = Web()
    catalog = Catalog.of(Agent("a"), models={"local": Seeing(lambda request: "ok")})
    async with Runtime(catalog) as runtime:
        made = PartConverter(runtime, Settings(), UploadedFiles(None), web)

        def paths(message, part):
            return PartPaths(f"{message}.{part}", "picture", f"{message}.{part}", f"{message}.{part}.data", "")

        async def taken(*given):
            (message,) = await made.convert((UserMessage(given),), paths, Agent("a"), "ann")
            return message.content

        yield taken, web


async def test_an_image_of_the_web_is_fetched_here_so_that_no_endpoint_opens_it(parts):
    taken, web = parts

    (made,) = await taken(ImagePart(ImageURL("https://example.org/a.png", "low")))

    assert made == ImagePart(ImageURL(data_url(b"\x89PNG", "image/png"), "low"))
    assert web.asked == ["https://example.org/a.png"]


async def test_a_file_of_the_web_too(parts):
    taken, _ = parts

    (made,) = await taken(FilePart(FileData("https://example.org/a.txt", None, "a.txt")))

    assert made == TextPart('<file name="a.txt">\nhello\n</file>')


async def test_the_urls_of_a_request_are_bounded(parts):
    from gaia_http._errors import ApiError

    taken, web = parts

    with pytest.raises(ApiError, match="at most 8"):
        await taken(*[ImagePart(ImageURL(f"https://example.org/{n}")) for n in range(9)])

    assert len(web.asked) == 8


async def test_a_pdf_that_takes_too_long_ends_with_its_process():
    with pytest.raises(PdfError, match=r"within 0.001 s"):
        await PdfReader(seconds=0.001).text(pdf("x"))


async def test_a_reading_that_is_cancelled_twice_leaves_no_process(children):
    reading = asyncio.create_task(PdfReader().text(pdf("x")))
    child = await children.get()
    for _ in range(5):
        await asyncio.sleep(0)
        reading.cancel()
    await asyncio.wait((reading,))

    assert reading.cancelled()
    assert child.returncode is not None
