"""Give the site the pages and files that lie outside of docs/, and let links lead to them.

Links are written as GitHub follows them, relative to the file. README.md and other documents of the root are
pages of the site; other files that a page links to, such as a description in `examples/`, are copied into it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PROJECT = Path(__file__).parents[2]
PAGES = {
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "development/contributing.md",
    "CHANGELOG.md": "development/changelog.md",
}
SOURCES = {page: source for source, page in PAGES.items()}
LINK = re.compile(r"(\]\()([^)\s#]+)([^)\s]*\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root, and the files outside of docs/ that pages link to."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(PROJECT / source)))
    for file in list(files.documentation_pages()):
        for target in _targets(file):
            site_path = _site_path(target)
            if files.get_file_from_path(site_path) is None and (PROJECT / target).is_file():
                files.append(File.generated(config, site_path, abs_src_path=str(PROJECT / target)))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Let links lead to where a file of the repository is in the site, and widen indents of lists."""
    folder = posixpath.dirname(page.file.src_uri)

    def rewrite(match: re.Match[str]) -> str:
        before, target, rest = match.groups()
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        site_path = _site_path(_in_project(page.file, target))
        return before + posixpath.relpath(site_path, folder or ".") + rest

    return LINK.sub(rewrite, _with_wider_indents(markdown))


def _targets(file: File) -> Iterator[str]:
    """Yield the paths in the repository that a page links to."""
    for _, target, _ in LINK.findall(file.content_string):
        if "://" not in target:
            yield _in_project(file, target)


def _in_project(file: File, target: str) -> str:
    """Return the path in the repository to which a link of a page leads."""
    written_in = SOURCES.get(file.src_uri, f"docs/{file.src_uri}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(written_in), target))


def _site_path(path: str) -> str:
    """Return the path in the site of a path in the repository."""
    in_docs = path.removeprefix("docs/") if path.startswith("docs/") else f"repository/{path}"
    return PAGES.get(path, in_docs)


def _with_wider_indents(markdown: str) -> str:
    """Indent what belongs to a list item by four in place of two columns, outside of blocks of code."""
    text_and_code = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    text_and_code[::2] = [re.sub(r"^( +)(?=\S)", r"\1\1", text, flags=re.M) for text in text_and_code[::2]]
    return "".join(text_and_code)
