"""URLs that clients give: only allowed hosts, only public addresses, each hop, bounded."""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver

from gaia_http import Settings
from gaia_http.request._url_fetch import FetchError, UrlFetcher, is_public

PNG = b"\x89PNG\r\n\x1a\n"
IMAGES = ("image/",)


class Names(AbstractResolver):
    """A resolver that knows what it is told; a name with several answers gives one after the other."""

    def __init__(self, **answers: object) -> None:
        self.answers = {name.replace("_", "."): list(addresses) for name, addresses in answers.items()}
        self.asked: list[str] = []

    async def resolve(self, host, port=0, family=socket.AF_UNSPEC):
        self.asked.append(host)
        answers = self.answers[host]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        addresses = (answer,) if isinstance(answer, str) else answer
        return [
            {
                "hostname": host, "host": address, "port": port, "proto": 0, "flags": socket.AI_NUMERICHOST,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
            }
            for address in addresses
        ]  # fmt: skip

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "192.0.0.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%1",
        "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "2002:7f00:1::", "2002:a00:1::1",
        "2001:0:7f00:1::", "2001:db8::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_of_the_internet(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_addresses_of_the_internet(address):
    assert is_public(ipaddress.ip_address(address))


# What is refused before anybody is asked.


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.png", "http://2130706433/a.png", "http://0x7f000001/a.png", "http://0177.0.0.1/a.png",
        "http://127.1/a.png", "http://[::1]/a.png", "http://[::ffff:127.0.0.1]/a.png", "http://[64:ff9b::7f00:1]/a.png",
        "http://169.254.169.254/latest/meta-data", "http://localhost/a.png", "http://localhost./a.png",
        "http://images.example:22/a.png", "file:///etc/passwd", "ftp://images.example/a.png", "gopher://images.example",
        "http://user:password@images.example/a.png", "http:///a.png", "http://", "http://[::1", "//images.example",
        "http://images.example/" + "a" * 3_000, "http://images.example\\@127.0.0.1/a.png", "http://①②⑦.0.0.1/a.png",
        "data:image/png;base64,", "", "http://%31%32%37.0.0.1/", "http://a b/", "http://\x00/",
    ],
)  # fmt: skip
async def test_urls_that_are_not_fetched_from_any_public_host(url):
    class Loopback(Names):
        """What a system makes of the many ways to write 127.0.0.1."""

        async def resolve(self, host, port=0, family=socket.AF_UNSPEC):
            self.answers[host] = ["127.0.0.1"]
            return await super().resolve(host, port, family)

    fetcher = UrlFetcher(Settings(fetch_hosts=("*",), fetch_seconds=5), Loopback)

    with pytest.raises(FetchError, match=r"not a host of the internet|only http|characters|can't be reached|--fetch"):
        await fetcher.fetch(url, IMAGES)


@pytest.mark.parametrize(
    ("hosts", "url", "allowed"),
    [
        ((), "http://images.example/a", False),
        (("images.example",), "http://images.example/a", True),
        (("images.example",), "http://IMAGES.example./a", True),
        (("images.example",), "http://other.example/a", False),
        (("images.example",), "http://sub.images.example/a", False),
        (("images.example",), "http://notimages.example/a", False),
        (("*.images.example",), "http://sub.images.example/a", True),
        (("*.images.example",), "http://notimages.example/a", False),
        (("images.example",), "http://images.example:8080/a", False),
        (("images.example:8080",), "http://images.example:8080/a", True),
        (("images.example:8080",), "http://images.example/a", False),
        (("*",), "http://anything.example/a", True),
    ],
)
async def test_which_hosts(hosts, url, allowed):
    asked: list[str] = []

    class Nobody(Names):
        async def resolve(self, host, port=0, family=socket.AF_UNSPEC):
            asked.append(host)
            raise OSError("nobody")

    with pytest.raises(FetchError) as refused:
        await UrlFetcher(Settings(fetch_hosts=hosts), Nobody).fetch(url, IMAGES)

    assert bool(asked) == allowed
    assert ("--fetch-urls" in str(refused.value)) != allowed


@pytest.mark.parametrize("answer", ["10.0.0.1", ("8.8.8.8", "127.0.0.1"), "::ffff:127.0.0.1", "64:ff9b::7f00:1"])
async def test_a_name_that_leads_inside(answer):
    resolver = Names(images_example=[answer])

    with pytest.raises(FetchError, match=r"not a host of the internet"):
        await UrlFetcher(Settings(fetch_hosts=("*",)), lambda: resolver).fetch("http://images.example/a.png", IMAGES)


# A web server of the test, which the guard takes for the internet.


class Web:
    """A server on loopback; *asked* are the paths."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.headers: list[dict] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        self.headers.append(dict(request.headers))
        match request.path:
            case "/a.png":
                return web.Response(body=PNG, content_type="image/png", headers={"set-cookie": "a=b"})
            case "/page":
                return web.Response(text="<html>", content_type="text/html")
            case "/big":
                response = web.StreamResponse(headers={"content-type": "image/png"})
                await response.prepare(request)
                while True:  # an endless body
                    await response.write(b"x" * 65_536)
            case "/silent":
                await asyncio.Event().wait()
            case "/gzip":
                return web.Response(body=b"x", content_type="image/png", headers={"content-encoding": "gzip"})
            case "/round":
                raise web.HTTPFound("/round")
            case path if path.startswith("/to/"):
                raise web.HTTPFound(request.query["url"])
        raise web.HTTPNotFound


@pytest.fixture
async def there() -> AsyncIterator[Web]:
    served = Web()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", served.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    served.port = site._server.sockets[0].getsockname()[1]
    yield served
    await runner.cleanup()


def fetcher(there: Web, resolver: Names | None = None, **settings: object) -> UrlFetcher:
    """One that takes 127.0.0.1, and nothing else of loopback, for the internet."""
    hosts = (f"images.example:{there.port}", f"second.example:{there.port}", "*")
    names = resolver or Names(images_example=["127.0.0.1"], second_example=["127.0.0.1"], inside_example=["127.0.0.2"])
    return UrlFetcher(
        Settings(fetch_hosts=hosts, **settings), lambda: names, lambda address: str(address) == "127.0.0.1"
    )


async def test_an_image_is_fetched_and_nothing_of_ours_goes_along(there):
    fetched = await fetcher(there).fetch(f"http://images.example:{there.port}/a.png", IMAGES)

    assert (fetched.media, fetched.data) == ("image/png", PNG)
    (headers,) = there.headers
    assert {name.lower() for name in headers} == {"host", "accept", "accept-encoding", "user-agent", "connection"}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("page", "'text/html', not image/"),
        ("big", "more than 200000 bytes"),
        ("gzip", "compressed"),
        ("round", "redirects more than 3 times"),
        ("nowhere", "answered 404"),
    ],
)
async def test_what_is_not_taken(there, path, words):
    with pytest.raises(FetchError, match=words):
        await fetcher(there, max_fetch_bytes=200_000).fetch(f"http://images.example:{there.port}/{path}", IMAGES)


async def test_a_server_that_says_nothing(there):
    with pytest.raises(FetchError, match=r"longer than 0.2 s"):
        await fetcher(there, fetch_seconds=0.2).fetch(f"http://images.example:{there.port}/silent", IMAGES)


async def test_a_redirect_to_another_allowed_host_is_followed(there):
    url = f"http://images.example:{there.port}/to/?url=http://second.example:{there.port}/a.png"

    assert (await fetcher(there).fetch(url, IMAGES)).data == PNG
    assert there.asked == ["/to/", "/a.png"]


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.3/a.png", "http://inside.example/a.png", "http://[::1]/a.png", "http://2130706433/a.png",
        "file:///etc/passwd", "http://images.example:22/", "//169.254.169.254/", "http://[", "",
    ],
)  # fmt: skip
async def test_a_redirect_inside_is_not_followed(there, target):
    from urllib.parse import quote

    url = f"http://images.example:{there.port}/to/?url={quote(target, safe='')}"

    with pytest.raises(FetchError):
        await fetcher(there).fetch(url, IMAGES)

    assert set(there.asked) == {"/to/"}


async def test_a_name_that_changes_its_mind_reaches_what_was_checked(there):
    """It is resolved once for a connection: what was looked at is what is connected to."""
    names = Names(images_example=["127.0.0.1", "127.0.0.2"])

    url = f"http://images.example:{there.port}/a.png"

    assert (await fetcher(there, names).fetch(url, IMAGES)).data == PNG
    assert names.asked == ["images.example"]
    with pytest.raises(FetchError, match="not a host of the internet"):
        await fetcher(there, names).fetch(url, IMAGES)
