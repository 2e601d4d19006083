# SPDX-License-Identifier: Apache-2.0
"""Whether a page would run anything that its text brought along."""

import html.parser

SCRIPT = "<script>alert(1)</script>"


class Page(html.parser.HTMLParser):
    """Collects the tags and attributes of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def harmless(text: str) -> bool:
    found = Page(text)
    return "script" not in found.tags and not any(a.startswith("on") for a in found.attributes)
