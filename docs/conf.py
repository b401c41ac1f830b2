"""The documentation's site: `./run docs` builds it, strictly. Why Sphinx: decisions/0010.

Generated text (`docs/_generate`) takes the place of a page's comment `<!-- generated: NAME -->`. The build also writes
`llms.txt`, an index of the pages for language models, and `llms-full.txt`, all pages as one text.
"""

import importlib
import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parents[1]))

project = "GAIA server"
author = "The GAIA server's authors"
release = version = version_of("gaia-server-core")
extensions = ["myst_parser"]
exclude_patterns = ["_build", "_generate"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_show_sourcelink = False
nitpicky = True

_GENERATED = re.compile(r"<!-- generated: (\w+) -->")
_HEADING = re.compile(r"(?m)^# (.+)$")


def _fill(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the generated text into the page, and keep the whole for llms.txt."""
    source[0] = _GENERATED.sub(lambda found: importlib.import_module(f"docs._generate.{found[1]}").page(), source[0])
    app.env.gaia_pages = getattr(app.env, "gaia_pages", {}) | {docname: source[0]}


def _write_llms(app: Sphinx, failure: Exception | None) -> None:
    """Write llms.txt (llmstxt.org: a title, a summary, links with notes) and llms-full.txt beside the pages."""
    if failure is not None or app.builder.format != "html":
        return
    pages: dict[str, str] = dict(sorted(app.env.gaia_pages.items()))
    lines = [f"# {project}", "", f"> {_summary(pages.pop('index'))}", "", "## Pages", ""]
    for name, text in pages.items():
        title = _HEADING.search(text)
        lines.append(f"- [{title[1] if title else name}]({name}.html): {_summary(text)}")
    folder = Path(app.outdir)
    folder.joinpath("llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    folder.joinpath("llms-full.txt").write_text("\n\n".join(pages.values()), encoding="utf-8")


def _summary(text: str) -> str:
    """The first sentence below the page's title."""
    paragraphs = (" ".join(part.split()) for part in text.split("\n\n"))
    first = next(part for part in paragraphs if part and part[0] not in "#<`|:{")
    return re.split(r"(?<=[.!?:]) ", re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", first))[0]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _fill)
    app.connect("build-finished", _write_llms)
