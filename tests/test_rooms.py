# SPDX-License-Identifier: Apache-2.0
"""Rooms: who may import whom, what is imported late, and what must not be needed at all.

Read from the source by `ast`, imports inside functions included.
"""

import ast
import functools
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lipjax

PACKAGE = Path(lipjax.__file__).parent
ROOMS = (
    *("errors", "media", "data", "nn", "models", "losses", "metrics", "state", "tasks"),
    *("speakers", "training", "configs", "config_files", "builders", "build", "planning"),
    *("evaluation", "evaluate", "analysis", "report", "score", "generation", "generate"),
    *(
        "previews",
        "stage_evaluation",
        "train",
        "jobs",
        "export",
        "pretrained",
        "figures",
        "ablation",
        "demo_page",
    ),
    *("commands", "library", "cli", "walkthrough"),
)
"""From the ground up: each imports only from itself and from those before it."""
CORE = ("jax", "flax", "optax", "jaxtyping", "numpy")
"""All that networks and losses need."""
LATE = (
    *("av", "cv2", "dlib", "face_recognition_models", "librosa", "matplotlib", "mediapipe"),
    *("tensorflow_datasets", "grain", "soxr", "espeakng_loader", "array_record", "tensorboard"),
    *("gradio", "gradio_client", "fastapi", "starlette", "uvicorn"),
)
"""Slow to import, or an extra: imported in the functions that use them."""


@functools.cache
def sources() -> dict[str, ast.Module]:
    """Module name -> parsed source."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    return found


def imports(tree: ast.AST) -> Iterator[str]:
    """Names of the modules that a piece of source imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"line {node.lineno}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in sources() else node.module


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_room_has_its_place():
    assert {room(name) for name in sources()} - {""} <= set(ROOMS)


def test_rooms_import_only_from_rooms_below_them():
    upward = [
        f"{name} imports {imported}"
        for name, tree in sources().items()
        for imported in imports(tree)
        if imported.split(".")[0] == "lipjax" and room(imported) and room(name)
        if ROOMS.index(room(imported)) > ROOMS.index(room(name))
    ]
    assert not upward


def test_there_are_no_circles():
    graph = {name: {i for i in imports(tree) if i in sources()} for name, tree in sources().items()}
    assert len(graph) > 50
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError


def test_the_package_itself_imports_nothing():
    assert set(imports(sources()["lipjax"])) == {"importlib", "typing"}


def test_heavy_libraries_are_imported_where_they_are_used():
    early = [
        f"{name} imports {imported} at once"
        for name, tree in sources().items()
        for node in tree.body
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        for imported in imports(node)
        if imported.split(".")[0] in LATE
    ]
    assert not early


def modules(*rooms: str) -> list[str]:
    return [name for name in sources() if room(name) in rooms]


def loaded_after(names: list[str], *, without: tuple[str, ...] = ()) -> set[str]:
    """Imports modules in a fresh Python, some libraries absent; returns what that has loaded."""
    code = (
        "import importlib, sys\n"
        "blocked, names = (word.split(',') for word in sys.argv[1:])\n"
        "sys.modules.update({name: None for name in blocked if name})\n"
        "for name in names: importlib.import_module(name)\n"
        "print('\\n'.join(n for n, m in sys.modules.items() if m is not None))"
    )
    words = [sys.executable, "-c", code, ",".join(without), ",".join(names)]
    run = subprocess.run(words, cwd=PACKAGE.parent, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_media_and_data_work_without_jax():
    names = modules("media", "data")
    assert len(names) > 40
    loaded = loaded_after(names, without=("jax", "jaxlib", "flax", "optax", "orbax"))
    assert set(names) <= loaded
    assert not loaded & {"jax", "jaxlib", *LATE}


def test_networks_and_losses_need_the_core_alone():
    names = modules("nn", "models", "losses")
    absent = ("orbax", "etils", "ml_collections", "PIL", "scipy", *LATE)
    loaded = loaded_after(names, without=absent)
    assert set(names) <= loaded
    ours = {i.split(".")[0] for name in names for i in imports(sources()[name])} - {"lipjax"}
    assert ours - set(sys.stdlib_module_names) <= set(CORE)


@pytest.mark.parametrize("name", ["lipjax", "lipjax.cli"])
def test_the_package_and_the_command_line_are_light(name):
    loaded = loaded_after([name])
    assert not loaded & {"jax", "flax", "numpy", "ml_collections", "jaxtyping", *LATE}
