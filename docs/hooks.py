# SPDX-License-Identifier: Apache-2.0
"""Build hook: pages may link to files of the repository, as they do when read on a code host.

The site holds docs/ alone. A link that leaves it, such as ../benchmarks/results/x.json, is turned
to a copy of that file below files/; MkDocs then checks it like any other link.
"""

import os
import re
from pathlib import Path

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(!?\[[^\]]*\]\()(\.\./[^)#\s]+)((?:#[^)\s]*)?\))")


def on_files(files, config):
    """Adds the files that pages link to outside docs/."""
    wanted = set()
    for page in files.documentation_pages():
        for _, target, _ in LINK.findall(page.content_string):
            wanted.add(_inside(page.src_uri, target))
    for path in sorted(wanted):
        # A .md file would become a page of its own, with links of its own.
        name = f"files/{path}" + (".txt" if path.endswith(".md") else "")
        files.append(File.generated(config, name, content=(ROOT / path).read_bytes()))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turns the links to those copies."""

    def turned(match):
        path = _inside(page.file.src_uri, match[2])
        name = f"files/{path}" + (".txt" if path.endswith(".md") else "")
        return match[1] + name + match[3]

    return LINK.sub(turned, markdown)


def _inside(page, target):
    """Path in the repository that a link of a page leads to."""
    path = os.path.normpath(os.path.join("docs", os.path.dirname(page), target))
    if path.startswith("..") or not (ROOT / path).is_file():
        raise PluginError(f"{page}: links to {target}, which is no file of the repository")
    return path
