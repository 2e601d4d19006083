# SPDX-License-Identifier: Apache-2.0
"""Nothing in lipjax unpickles, runs text, gives words to a shell or unpacks archives.

Read from the source by `ast`, so a new call fails here whoever adds it. The one file of code that
is run is a config, which the user names as such.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import lipjax

ROOT = Path(lipjax.__file__).parents[1]
FOLDERS = ("lipjax", "configs", "scripts", "benchmarks", "colabs")
MODULES = frozenset(
    "pickle _pickle cPickle dill cloudpickle joblib shelve marshal torch yaml jsonpickle code pty "
    "tarfile commands".split()
)
"""Whoever imports one of these means to unpickle, to unpack or to run something."""
CALLS = frozenset(
    "eval exec compile __import__ os.system os.popen os.execv os.execve os.execvp os.execl "
    "os.execlp os.spawnl os.spawnv os.spawnlp os.spawnvp subprocess.getoutput "
    "subprocess.getstatusoutput asyncio.create_subprocess_shell shutil.unpack_archive "
    "importlib.import_module importlib.reload runpy.run_path runpy.run_module tempfile.mktemp "
    "np.fromregex numpy.fromregex pd.read_pickle "
    "torch.load torch.hub.load torch.jit.load".split()
)
METHODS = frozenset("extractall extract unpack_archive exec_module load_module".split())
"""Names of methods, whatever they are called on."""
LOADERS = frozenset(
    "np.load numpy.load np.lib.format.read_array numpy.lib.format.read_array".split()
)
ALLOWED = {
    ("lipjax/config_files.py", "exec_module"): "configs are code, and named by the user",
    ("lipjax/media/faces.py", "importlib.import_module"): "handed to a thread, with a fixed name",
    ("lipjax/__init__.py", "importlib.import_module"): "names of a table in the same file",
    ("benchmarks/torch_reference/table.py", "runpy.run_path"): "the tests' layer table",
    ("benchmarks/evaluating.py", "importlib.import_module"): "names of a table in the same file",
}
OPPONENT = ("benchmarks/torch_reference/", "benchmarks/torch_windows.py")
"""May import PyTorch, which they measure beside; they load no file with it."""


def allowed(file: str, what: str) -> bool:
    if what.split(".")[0] == "torch" and what not in CALLS and file.startswith(OPPONENT):
        return True
    return (file, what) in ALLOWED


def dotted(node: ast.AST) -> str:
    """The name of a function as it is called: "np.load", "exec"; "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value) or '?'}.{node.attr}"
    return ""


def offences(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, what) of everything forbidden in a piece of source."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            for alias in node.names:
                if f"{node.module}.{alias.name}" in CALLS | LOADERS:
                    yield node.lineno, f"{node.module}.{alias.name}"
        else:
            names = []
        for name in names:
            if name.split(".")[0] in MODULES:
                yield node.lineno, name
        if isinstance(node, ast.Attribute) and dotted(node) in CALLS:
            yield node.lineno, dotted(node)  # also where it is only handed on
        if isinstance(node, ast.Call):
            yield from ((node.lineno, what) for what in _in_call(node))


def _in_call(node: ast.Call) -> Iterator[str]:
    name = dotted(node.func)
    given = {word.arg: word.value for word in node.keywords}
    if name in CALLS and isinstance(node.func, ast.Name):
        yield name
    if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
        yield node.func.attr
    if name in LOADERS and not _is(given.get("allow_pickle"), False):
        yield f"{name} without allow_pickle=False"
    elif "allow_pickle" in given and not _is(given["allow_pickle"], False):
        yield f"{name} with allow_pickle"
    if "shell" in given and not _is(given["shell"], False):
        yield f"{name} with shell"
    if name.startswith("subprocess.") and node.args:
        first = node.args[0]
        if isinstance(first, ast.JoinedStr) or (
            isinstance(first, ast.Constant) and isinstance(first.value, str)
        ):
            yield f"{name} with a line of text"


def _is(node: ast.AST | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def sources() -> list[Path]:
    files = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")]
    return sorted([*files, *ROOT.glob("*.py")])


def test_no_source_runs_what_it_reads():
    files = sources()
    assert len(files) > 150
    found = [
        f"{file.relative_to(ROOT)}:{line}: {what}"
        for file in files
        for line, what in offences(ast.parse(file.read_text(encoding="utf-8")))
        if not allowed(file.relative_to(ROOT).as_posix(), what)
    ]
    assert not found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "def f():\n    import torch.nn",
        "import numpy as np\nnp.load('x')",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "from numpy import load",
        "np.save(path, x, allow_pickle=True)",
        "np.lib.format.read_array(file)",
        "eval(text)",
        "exec(text)",
        "compile(text, 'x', 'exec')",
        "__import__(name)",
        "importlib.import_module(name)",
        "torch.load(file)",
        "thread.submit(importlib.import_module, name)",
        "os.system(line)",
        "subprocess.run(words, shell=True)",
        "subprocess.Popen('ls -l')",
        "subprocess.run(f'ls {name}')",
        "import yaml",
        "yaml.load(text)\nimport yaml",
        "archive.extractall(folder)",
        "shutil.unpack_archive(file)",
        "spec.loader.exec_module(module)",
    ],
)
def test_the_search_finds(source):
    assert list(offences(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "np.load(path, allow_pickle=False)",
        "subprocess.run(['ls', name])",
        "re.compile(text)",
        "ast.literal_eval(text)",
        "model.eval()",
        "lowered.compile()",
        "f(x).compile()",
        "json.load(file)",
    ],
)
def test_the_search_leaves_alone(source):
    assert not list(offences(ast.parse(source)))
