"""The text of a web page: what proxies answer, as a line for a person."""

from __future__ import annotations

import re

__all__ = ("is_html", "text_of_html")

_UNSEEN = ("script", "style")


def is_html(body: str, content_type: str) -> bool:
    """Whether a response's body is a web page."""
    return "html" in content_type.lower() or body.lstrip()[:1] == "<"


def text_of_html(page: str) -> str:
    """The text of ``page`` without its tags; its title only where there is nothing else."""
    text = _without_tags(page, (*_UNSEEN, "title"))
    return text if text.strip() else _without_tags(page, _UNSEEN)


def _without_tags(page: str, unseen: tuple[str, ...]) -> str:
    out: list[str] = []
    at, inside = 0, ""
    for tag in re.finditer(r"<(/?)([a-zA-Z0-9]*)[^<>]*>", page):
        if not inside:
            out.append(page[at : tag.start()])
        name = tag[2].lower()
        if not inside and not tag[1] and name in unseen:
            inside = name
        elif tag[1] and name == inside:
            inside = ""
        at = tag.end()
    if not inside:
        out.append(page[at:])
    text = " ".join(out)
    if "&" in text:
        from html import unescape  # whose table of names takes a millisecond

        text = unescape(text)
    return text
