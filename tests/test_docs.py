# SPDX-License-Identifier: Apache-2.0
"""The documentation against the code: links, commands, flags, settings, messages, numbers."""

import ast
import functools
import importlib.util
import json
import re
import shlex
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from lipjax import errors
from lipjax.cli import parsers
from lipjax.config_files import load_config
from lipjax.evaluation import rows
from lipjax.metrics.table import COLUMNS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.glob("*.md") if path.name[0] != "_")
TEXTS = {path: path.read_text(encoding="utf-8") for path in [*PAGES, ROOT / "README.md"]}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")


def module_of(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


parsers_once = functools.cache(parsers)


def prose(text):
    return FENCE.sub("", text)


def by_page(path):
    return path.name


# ---- Links.


def anchors(text):
    """Anchors of headings, as MkDocs and code hosts make them of ours."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE):
        plain = unicodedata.normalize("NFKD", heading.replace("`", ""))
        plain = re.sub(r"[^\w\s-]", "", plain.encode("ascii", "ignore").decode()).strip().lower()
        found.add(re.sub(r"[-\s]+", "-", plain))
    return found


@pytest.mark.parametrize("page", TEXTS, ids=by_page)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(TEXTS[page])):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), f"{page.name}: {target}"


def test_every_page_is_in_the_navigation():
    told = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert sorted(re.findall(r": (\w+\.md)$", told, re.MULTILINE)) == [p.name for p in PAGES]


# ---- Commands, flags, settings.


def commands():
    for page, text in TEXTS.items():
        for language, block in FENCE.findall(text):
            for line in block.replace("\\\n", " ").splitlines() if not language else ():
                line = re.sub(r"\s#.*", "", line).strip()
                if re.match(r"(lipjax|python (train|eval)\.py) ", line):
                    yield page.name, line


COMMANDS = sorted(set(commands()))


def test_there_are_commands_to_check():
    assert len(COMMANDS) > 40


@pytest.mark.parametrize("page, line", COMMANDS)
def test_commands_are_right(page, line):
    words = shlex.split(line)
    if words[0] == "python":
        words[:2] = ["lipjax", words[1].removesuffix(".py")]
    if ": error:" in line or words[1].endswith(":"):
        pytest.skip("a message, not a command")
    parser = parsers_once()[1][words[1]]
    flags = {flag: action for action in parser._actions for flag in action.option_strings}
    config, overrides, positional, position = None, [], [], 2
    while position < len(words):
        word = words[position]
        position += 1
        if word.startswith("--config."):
            overrides.append(word)
        elif word.startswith("--"):
            flag, equals, value = word.partition("=")
            assert flag in flags, f"{page}: {flag}"
            action = flags[flag]
            if action.nargs == 0:
                continue
            if not equals:
                assert position < len(words), f"{page}: {flag} lacks a value"
                value = words[position]
                position += 1
                while action.nargs == "+" and position < len(words) and words[position][0] != "-":
                    position += 1
            if action.choices and not value.isupper():
                assert value in action.choices, f"{page}: {flag} {value}"
            config = value if flag == "--config" else config
        elif word != "...":
            positional.append(word)
    wanted = [action for action in parser._actions if not action.option_strings]
    assert len(positional) <= len(wanted), f"{page}: {positional}"
    if "..." not in words:
        assert len(positional) == len(wanted), f"{page}: {positional}"
        required = {a.option_strings[0] for a in flags.values() if a.required}
        assert required <= set(words), f"{page}: {required}"
    if config and config.isupper() is False and config != "FILE.py:VARIANT":
        load_config(str(ROOT / config), overrides=overrides)


OTHERS = {
    "--help", "--strict", "--force-reinstall", "--only-binary", "--gpus-per-task", "--gpu-bind",
    "--signal", "--requeue", "--kill-on-bad-exit", "--ntasks-per-node", "--check", "--corpus",
}  # fmt: skip
"""Flags of other programs that the pages name."""


@pytest.mark.parametrize("page", TEXTS, ids=by_page)
def test_flags_named_in_passing_exist(page):
    known = {f for p in parsers_once()[1].values() for a in p._actions for f in a.option_strings}
    for span in SPAN.findall(prose(TEXTS[page])):
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*(?![\w.-])", span):
            assert flag in known | OTHERS, f"{page.name}: {flag}"


@pytest.mark.parametrize("page", [p for p in TEXTS if p.name != "library.md"], ids=by_page)
def test_settings_named_in_passing_exist(page):
    config = load_config(str(ROOT / "configs" / "at_a_glance.py:grid"))
    keys = set(module_of("make_pages").leaves(config))
    keys |= {key.rpartition(".")[0] for key in keys} | {key.split(".")[0] for key in keys}
    groups = "data|train|optimizer|weights|generator|discriminator|correlation|stages|given"
    pattern = re.compile(
        rf"(?:--config\.([a-z_.]+)|(?<![\w./])((?:{groups})\.[a-z_.]+))(?=[=\s]|$)"
    )
    for span in SPAN.findall(prose(TEXTS[page])):
        for first, second in pattern.findall(span):
            key = first or second
            if key.endswith((".py", ".md", ".json", ".npz")) or set(key.split(".")) & {
                "key",
                "pid",
                "log",
            }:
                continue
            assert key in keys, f"{page.name}: {key}"


# ---- Python.


@pytest.mark.parametrize("page", TEXTS, ids=by_page)
def test_python_on_the_pages_is_python(page):
    for language, block in FENCE.findall(TEXTS[page]):
        if language == "python" and page.name != "library.md":
            ast.parse(block)


@pytest.mark.parametrize("name", ["_library.md", "evaluate.md"])
def test_python_on_the_pages_runs(name):
    names: dict = {}
    text = (DOCS / name).read_text(encoding="utf-8")
    for language, block in FENCE.findall(text):
        if language == "python":
            exec(block, names)
    if name == "_library.md":
        assert names["video"].shape == (1, 16, 64, 64, 3)
        assert names["feature"].shape == (1, 100, 128)


# ---- Messages and symptoms.

KINDS = {name for name in dir(errors) if name.endswith("Error")}


def template(node):
    """The text of a message, with a mark for each part that varies."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return template(node.left) + template(node.right)
    return "…"


def messages():
    for path in sorted((ROOT / "lipjax").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in KINDS and node.args:
                told = template(node.args[0])
                if len(re.sub(r"\W", "", told)) >= 4:  # else its words come from elsewhere
                    yield f"{path.relative_to(ROOT).as_posix()}:{node.lineno}", told


def told_messages():
    """What the first cells of the tables of messages say, as patterns."""
    for table in re.split(r"^\| message .*\n", TEXTS[DOCS / "trouble.md"], flags=re.MULTILINE)[1:]:
        for line in table.split("\n\n")[0].splitlines()[1:]:
            for span in SPAN.findall(line.split(" | ")[0]):
                pieces = re.split(r"\.\.\.|KEY", span)
                pieces = [re.escape(piece.strip()) for piece in pieces if piece.strip()]
                if sum(map(len, pieces)) >= 4:
                    yield span, re.compile(".*".join(pieces))


def test_every_message_is_told_of():
    patterns = list(told_messages())
    known = list(messages())
    assert len(patterns) > 150 and len(known) > 200
    missing = [
        f"{at}: {told}" for at, told in known if not any(p.search(told) for _, p in patterns)
    ]
    assert not missing, "docs/trouble.md lacks:\n" + "\n".join(missing)


def test_no_message_is_told_of_that_is_gone():
    sources = [*(ROOT / "lipjax").rglob("*.py"), *(ROOT / "configs").glob("*.py")]
    said = []
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp)):
                said.append(template(node))
    whole = "\n".join(said)
    gone = [span for span, pattern in told_messages() if not pattern.search(whole)]
    assert not gone


def test_every_kind_of_error_is_told_of():
    for name in KINDS:
        assert f"`{name}`" in TEXTS[DOCS / "trouble.md"]


def test_every_symptom_is_told_of():
    names = {"nonfinite"}
    for path in (ROOT / "lipjax").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            if called == "Symptom":
                names |= {str(k.value.value) for k in node.keywords
                          if k.arg == "name" and isinstance(k.value, ast.Constant)}  # fmt: skip
            if called == "no_better":
                names.add(str(node.args[0].value))
    assert len(names) >= 10
    for name in names:
        for page in ("trouble.md", "health.md"):
            assert f"`{name}`" in TEXTS[DOCS / page], f"{page}: {name}"


# ---- Metrics and numbers.


def test_every_column_and_row_is_told_of():
    text = TEXTS[DOCS / "evaluate.md"]
    for heading in COLUMNS.values():
        assert f"| **{heading}** |" in text
    for row in rows.ROWS:
        assert f"\n| {row} |" in text, row


def test_the_example_table_is_the_measured_one():
    measured = json.loads((ROOT / "benchmarks/results/grid_cpu.json").read_text())["val"]["table"]
    text = TEXTS[DOCS / "evaluate.md"].split("An example, GRID")[1]
    digits, seen = {"psnr": 2, "ssim": 3, "cpbd": 3, "lmd": 3, "r": 3}, 0
    for line in re.findall(r"^\| (.*) \|$", text, re.MULTILINE)[2:]:
        name, *cells = line.split(" | ")
        row = measured.get({"ground truth again": rows.TRUTH_AGAIN}.get(name, name))
        for (column, places), cell in zip(digits.items(), cells, strict=True):
            value = row[column]["all"]["mean"]
            assert cell == ("-" if value is None else f"{value:.{places}f}"), (name, column)
            seen += value is not None
    assert seen == 27


def test_the_reproduced_numbers_are_the_measured_ones():
    measured = json.loads((ROOT / "benchmarks/results/grid_cpu.json").read_text())
    text = TEXTS[DOCS / "reproduce.md"]
    table = re.search(r"^\| \| unseen sentences.*?\n\n", text, re.DOTALL | re.MULTILINE)[0]
    numbers = [
        re.findall(r"\d+\.\d+", line.split("|", 2)[2]) for line in table.strip().splitlines()[2:]
    ]
    wanted = [
        ("lmd", rows.MODEL), ("lmd", rows.MEAN_MOUTH), ("lmd", rows.LINEAR),
        ("r", rows.MODEL), ("r", rows.MODEL_WRONG),
        ("psnr", rows.MODEL, rows.STILL), ("ssim", rows.MODEL, rows.STILL),
        ("cpbd", rows.MODEL, rows.TRUTH),
    ]  # fmt: skip
    for found, (column, *names) in zip(numbers, wanted, strict=True):
        places = 2 if column == "psnr" else 3
        expected = [
            f"{measured[split]['table'][name][column]['all']['mean']:.{places}f}"
            for split in ("val", "test")
            for name in names
        ]
        assert found == expected, (column, names)


def test_the_example_is_as_long_as_it_is_said_to_be():
    lines = len((ROOT / "examples/new_system.py").read_text(encoding="utf-8").splitlines())
    assert f"[{lines} lines](../examples/new_system.py)" in TEXTS[DOCS / "adding_a_system.md"]
    toys = len((ROOT / "tests/toy_systems.py").read_text(encoding="utf-8").splitlines())
    assert f"{toys} lines together" in TEXTS[DOCS / "adding_a_system.md"]


# ---- What is made from the code.


@pytest.mark.parametrize("name", ["library.md", "settings.md"])
def test_made_pages_are_up_to_date(name):
    made = module_of("make_pages").PAGES[name]()
    assert made == (DOCS / name).read_text(encoding="utf-8"), "run python docs/make_pages.py"


def test_drawn_networks_are_up_to_date():
    figures = module_of("make_figures")
    told = json.loads((DOCS / "figures" / "networks.json").read_text(encoding="utf-8"))
    text = TEXTS[DOCS / "networks.md"]
    seen = set()
    for name, _, module, inputs in figures.networks():
        layers, total = figures.layers_of(module, inputs)
        kept = [["/".join(path), list(shape), count] for path, shape, _, count in layers]
        assert (total, kept) == (told[name]["parameters"], told[name]["layers"]), name
        # Every parameter stands in a box.
        assert sum(count for *_, count in layers) == total
        assert f"(figures/network_{name}.svg)" in text
        assert f"{total:,} parameters" in (DOCS / f"figures/network_{name}.svg").read_text("utf-8")
        seen.add(name)
    assert seen == set(told)


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    told = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    assert (tmp_path / "files/benchmarks/results/grid_cpu.json").is_file()
    pages = {path.stem for path in PAGES}
    assert pages <= {path.stem for path in tmp_path.glob("*.html")}
    words = json.loads((tmp_path / "search/search_index.json").read_text())["docs"]
    assert sum(len(entry["text"]) for entry in words) > 50_000
