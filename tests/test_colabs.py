# SPDX-License-Identifier: Apache-2.0
"""The notebooks as they are committed: valid, without outputs, badges and names right."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import lipjax

ROOT = Path(__file__).parents[1]
COLABS = sorted((ROOT / "colabs").glob("*.ipynb"))
NAMES = {
    "make_a_mouth_speak",
    "train_and_watch",
    "your_own_videos",
    "the_networks_as_a_library",
    "evaluation_and_the_papers_tables",
}
COLAB = "https://colab.research.google.com"
INSTALL = """\
import importlib.util

if importlib.util.find_spec("lipjax") is None:  # in Colab; on your machine it is there
    %pip install --quiet "lipjax[media,landmarks,babble] @ git+https://github.com/lipjax/lipjax"
"""
BESIDE_THE_TABLE = {"lipjax.ablation": {"LOSSES", "PAPER", "ablation"}}
"""What notebooks import although it is not among the public names."""


def read(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    """The Python of a notebook, without the lines that only notebooks know."""
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return "\n".join(re.sub(r"^(\s*)%.*$", r"\1pass", cell, flags=re.MULTILINE) for cell in cells)


def by_name(path):
    return path.stem


def test_there_are_five():
    assert {path.stem for path in COLABS} == NAMES
    told = (ROOT / "docs" / "notebooks.md").read_text("utf-8")
    readme = (ROOT / "README.md").read_text("utf-8")
    for name in NAMES:
        link = f"({COLAB}/github/lipjax/lipjax/blob/main/colabs/{name}.ipynb)"
        assert link in told and link in readme, name


@pytest.mark.parametrize("path", COLABS, ids=by_name)
class TestNotebook:
    def test_it_is_valid_and_as_nbformat_writes_it(self, path):
        notebook = read(path)
        nbformat.validate(notebook)
        assert path.read_text("utf-8") == nbformat.writes(notebook, indent=1).rstrip("\n") + "\n"
        ids = [cell.id for cell in notebook.cells]
        assert len(set(ids)) == len(ids)
        assert all(re.fullmatch(r"[a-z-]+", name) for name in ids), "names of its own, not random"

    def test_it_is_committed_without_outputs(self, path):
        for cell in read(path).cells:
            if cell.cell_type == "code":
                assert not cell.outputs and cell.execution_count is None, cell.id

    def test_it_begins_with_title_badge_and_installation(self, path):
        title, install = read(path).cells[:2]
        badge = f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]"
        assert title.cell_type == "markdown" and title.source.startswith("# ")
        assert f"{badge}({COLAB}/github/lipjax/lipjax/blob/main/colabs/{path.name})" in title.source
        assert install.source + "\n" == INSTALL

    def test_it_uses_public_names(self, path):
        tree = ast.parse(code(read(path)))
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "lipjax":
                assert node.attr in lipjax.__all__, f"lipjax.{node.attr}"
            if isinstance(node, ast.Import):
                for alias in node.names:
                    assert not alias.name.startswith("lipjax."), alias.name
            if isinstance(node, ast.ImportFrom) and node.module.startswith("lipjax"):
                assert {alias.name for alias in node.names} <= BESIDE_THE_TABLE[node.module]

    def test_its_prose_is_for_everybody(self, path):
        for cell in read(path).cells:
            assert not re.search(r"(?<![\w.])/(home|work|tmp|root|usr|mnt)/", cell.source), cell.id
            if cell.cell_type == "markdown":
                for target in re.findall(r"\]\(([^)\s]+)\)", cell.source):
                    known = target.startswith("https://")
                    assert known or (path.parent / target).resolve().is_file(), target


def test_their_code_is_clean():
    for words in (["check"], ["format", "--check"]):
        told = subprocess.run(
            [sys.executable, "-m", "ruff", *words, str(ROOT / "colabs")],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert told.returncode == 0, told.stdout + told.stderr
