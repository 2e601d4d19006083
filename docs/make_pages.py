# SPDX-License-Identifier: Apache-2.0
"""Writes the pages that are made from the code: library.md and settings.md.

python docs/make_pages.py            # writes them
python docs/make_pages.py --check    # exit code 1 if they are not up to date
"""

import argparse
import ast
import doctest
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
MADE = "<!-- Made by docs/make_pages.py; change that, not this. -->"
SECTIONS = ("Args", "Attributes", "Returns", "Raises", "Yields")
EXAMPLE = "\nExample:\n"


# ---- The public names, from their source: signatures as they are written, docstrings as lists.


def library() -> str:
    """Returns library.md."""
    sys.path.insert(0, str(ROOT))
    import lipjax

    intro = (DOCS / "_library.md").read_text(encoding="utf-8")
    parts, index = [], []
    for module, names in lipjax._PUBLIC.items():
        path = ROOT / (module.replace(".", "/") + ".py")
        for name in names:
            home, node = _definition(path, name)
            index.append(f"[`{name}`](#{name.lower()})")
            parts.append(_entry(home, name, node))
    table = "All names: " + ", ".join(sorted(index, key=str.lower)) + ".\n"
    entries = re.sub(r"\n{3,}", "\n\n", "\n".join(parts))
    return "\n".join([MADE, "", intro.rstrip(), "", table, entries])


def _definition(path: Path, name: str) -> tuple[Path, Any]:
    """The file and the definition of a name; a module may only pass it on."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name:
            return path, node
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            return _definition(ROOT / (node.module.replace(".", "/") + ".py"), name)
    raise KeyError(f"{name} is not defined in {path}")


def _entry(path: Path, name: str, node: Any) -> str:
    where = path.relative_to(ROOT).as_posix()
    lines = [f"### {name}", "", f"[{where}](../{where})", "", "```python"]
    if isinstance(node, ast.FunctionDef):
        lines += [_signature(node, name), "```", "", *_markdown(ast.get_docstring(node))]
        return "\n".join([*lines, ""])
    # Quotes as the formatter wants them, which looks at code in Markdown too.
    fields = [
        f"    {_source(item.target)}: {_source(item.annotation)}"
        + (f" = {_source(item.value)}" if item.value else "")
        for item in node.body
        if isinstance(item, ast.AnnAssign) and not ast.unparse(item.target).startswith("_")
    ]
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    methods = [item for item in node.body if isinstance(item, ast.FunctionDef)]
    init = [item for item in methods if item.name == "__init__"]
    lines += [f"class {name}({bases}):" if bases else f"class {name}:"]
    lines += fields
    if not fields and not init:
        lines[-1] += " ..."
    lines += ["    " + _signature(item, "__init__").replace("\n", "\n    ") for item in init]
    lines += ["```", "", *_markdown(ast.get_docstring(node))]
    for item in methods:
        shown = item.name == "__call__" or not item.name.startswith("_")
        if shown and ast.get_docstring(item):
            kinds = {ast.unparse(decorator) for decorator in item.decorator_list}
            told = name if item.name == "__call__" else f"{name}.{item.name}"
            if "property" in kinds:
                lines += ["", f"`{told}`: {_plain(ast.get_docstring(item).splitlines()[0])}"]
                continue
            lines += ["", "```python", _signature(item, told), "```", ""]
            lines += _markdown(ast.get_docstring(item))
    return "\n".join([*lines, ""])


def _source(node: ast.AST) -> str:
    return ast.unparse(node).replace("'", '"')


def _signature(node: ast.FunctionDef, name: str) -> str:
    arguments = node.args
    given = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(given) - len(arguments.defaults)) + list(arguments.defaults)
    parts = [
        _argument(arg, default)
        for arg, default in zip(given, defaults, strict=True)
        if arg.arg not in ("self", "cls")
    ]
    if arguments.kwonlyargs and not arguments.vararg:
        parts.append("*")
    if arguments.vararg:
        parts.append("*" + _argument(arguments.vararg, None))
    parts += map(_argument, arguments.kwonlyargs, arguments.kw_defaults)
    if arguments.kwarg:
        parts.append("**" + _argument(arguments.kwarg, None))
    back = f" -> {_source(node.returns)}" if node.returns else ""
    line = f"{name}({', '.join(parts)}){back}"
    if len(line) <= 88:
        return line
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){back}"


def _argument(arg: ast.arg, default: ast.expr | None) -> str:
    text = arg.arg + (f": {_source(arg.annotation)}" if arg.annotation else "")
    if default is None:
        return text
    return text + (" = " if arg.annotation else "=") + _source(default)


def _markdown(docstring: str | None) -> list[str]:
    """A docstring: paragraphs as they are, its sections as lists, its example as code."""
    lines, section = [], ""
    text, _, example = (docstring or "").partition(EXAMPLE)
    for line in text.splitlines():
        head = re.fullmatch(r"(\w+):", line)
        if head and head[1] in SECTIONS:
            section = head[1]
            lines += ["", f"*{section}*", ""]
        elif section and line.startswith("    ") and not line.startswith("     "):
            entry = re.match(r"    ([\w, *]+): (.*)", line)
            if entry and section not in ("Returns", "Yields"):
                lines.append(f"- `{entry[1]}`: {_plain(entry[2])}")
            elif section in ("Returns", "Yields") and lines[-1]:
                lines.append(f"  {_plain(line.strip())}")
            else:
                lines.append(f"- {_plain(line.strip())}")
        elif section and line.strip() and line.startswith(" "):
            lines.append(f"  {_plain(line.strip())}")
        else:
            if line.strip():
                section = ""
            lines.append(_plain(line))
    return lines + (_example(example) if example else [])


def _example(text: str) -> list[str]:
    """A doctest as code to copy: what it prints stands as comments."""
    lines = ["", "*Example*", "", "```python"]
    for part in doctest.DocTestParser().get_examples(textwrap.dedent(text)):
        imports = part.source.startswith(("import ", "from "))
        if lines[-1].startswith(("import ", "from ")) and not imports:
            lines.append("")
        lines += part.source.replace("  # doctest: +SKIP", "").rstrip().splitlines()
        lines += [f"# {line}" for line in part.want.splitlines()]
    return [*lines, "```"]


def _plain(text: str) -> str:
    """Marks that Markdown would obey, outside of code, are shown."""
    parts = text.split("`")
    for number in range(0, len(parts), 2):
        parts[number] = re.sub(r"([*_\[\]])", r"\\\1", parts[number]).replace("<", "&lt;")
    return "`".join(parts)


# ---- All settings, from the config; what they mean, from settings_told.py beside this file.


def settings() -> str:
    """Returns settings.md."""
    sys.path[:0] = [str(ROOT), str(DOCS)]
    from settings_told import INTRO, TOLD

    from lipjax.config_files import load_config

    file = str(ROOT / "configs" / "at_a_glance.py")
    full, small = (leaves(load_config(f"{file}:{size}")) for size in ("grid", "grid_cpu"))
    unknown, untold = sorted(set(TOLD) - set(full)), sorted(set(full) - set(TOLD))
    if unknown or untold:
        raise SystemExit(f"docs/settings_told.py: no such keys {unknown}; not told {untold}")
    lines, group = [MADE, "", INTRO.rstrip(), ""], ""
    for key, value in sorted(full.items(), key=lambda item: _group(item[0])):
        if _group(key) != group:
            group = _group(key)
            lines += ["", f"## {group}", "", "| setting | grid | grid_cpu | what it does |"]
            lines.append("|---|---|---|---|")
        other = "" if small[key] == value else f"`{_value(small[key])}`"
        lines.append(f"| `{key}` | `{_value(value)}` | {other} | {TOLD[key]} |")
    return "\n".join([*lines, ""])


def leaves(config: Any, above: str = "") -> dict[str, Any]:
    """Returns dotted name -> value of every setting of a config."""
    found: dict[str, Any] = {}
    for name in sorted(config):
        value = config[name]
        inner = hasattr(value, "items")
        found |= leaves(value, f"{above}{name}.") if inner else {above + name: value}
    return found


def _group(key: str) -> str:
    head, _, rest = key.partition(".")
    if head == "stages":
        return f"stages.{rest.split('.')[0]}"
    return head if rest else "the run"


def _value(value: Any) -> str:
    return str(value) if value != "" else '""'


PAGES = {"library.md": library, "settings.md": settings}


def main() -> int:
    """Writes or checks the pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    check = parser.parse_args().check
    code = 0
    for name, make in PAGES.items():
        text, path = make(), DOCS / name
        if check and (not path.is_file() or path.read_text(encoding="utf-8") != text):
            print(f"docs/{name} is not up to date: run python docs/make_pages.py")
            code = 1
        elif not check:
            path.write_text(text, encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
