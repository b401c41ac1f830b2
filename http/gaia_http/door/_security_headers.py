"""Headers that tell browsers what an answer may do: on every response, errors included.

No answer is shown in a frame of another page (clickjacking), none is taken for another type than it says, and none is
embedded by a page of another origin. What is no page may load and run nothing, also when somebody opens it.

The page may load what its own server has, and nothing from elsewhere: an image in a model's answer, of which the URL
holds what was said, is not fetched. Its scripts are files of this server, or inline ones that its HTML had when it was
built: these are known by their hashes.
"""

import base64
import hashlib
from collections.abc import Iterable
from html.parser import HTMLParser

Headers = tuple[tuple[bytes, bytes], ...]

POLICY = b"content-security-policy"

_ALWAYS: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # Not "no-referrer": a form of the page's own would come with `Origin: null` (source: the Fetch standard).
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_NOTHING = b"default-src 'none'; frame-ancestors 'none'"
_PAGE = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "font-src 'self' data:; style-src 'self' 'unsafe-inline'; manifest-src 'self'; worker-src 'self' blob:; "
    "form-action 'self'; base-uri 'self'; frame-ancestors 'none'; script-src 'self' 'wasm-unsafe-eval'"
)


def security_headers(given: Iterable[tuple[bytes, bytes]]) -> Headers:
    """What a response that has the headers *given* says besides."""
    has_policy = any(name.lower() == POLICY for name, _ in given)
    return _ALWAYS if has_policy else (*_ALWAYS, (POLICY, _NOTHING))


def page_policy(html: bytes = b"") -> bytes:
    """The policy of a file of the page; *html*: what it says, if it is a document."""
    parser = _InlineScripts()
    parser.feed(html.decode("utf-8", "replace"))
    parser.close()
    hashes = "".join(f" 'sha256-{each}'" for each in parser.hashes)
    return f"{_PAGE}{hashes}".encode()


class _InlineScripts(HTMLParser):
    """The hashes of a document's inline scripts, each once, in their order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self._script: list[str] | None = None
        """The text of the script that is open; None outside of one."""
        self.hashes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script" and not any(name == "src" for name, _ in attrs):
            self._script = []

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self._script.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "script" and self._script is not None:
            digest = hashlib.sha256("".join(self._script).encode()).digest()
            found = base64.b64encode(digest).decode()
            if found not in self.hashes:
                self.hashes.append(found)
            self._script = None
