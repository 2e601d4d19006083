# SPDX-License-Identifier: Apache-2.0
"""With every direct dependency at the lowest version allowed, the heart of the tests runs."""

import pytest
from environment_tools import UV, copy_sources, make_environment, run
from packaging.requirements import Requirement

pytestmark = pytest.mark.check

EXTRAS = ("media", "landmarks", "babble", "page")
TOOLS = ("pytest", "pytest-timeout", "beartype", "scikit-image", "cpbd", "selenium")
PART = (
    "tests/test_examples.py",  # every public name: networks, windows, prepare, load, speak
    "tests/test_public.py",
    "tests/test_config_files.py",
    "tests/data/test_windows.py",
    "tests/test_generate.py",
    "tests/media/test_video.py",
)
# Their conftest imports lipjax before jaxtyping 0.3.0 could look at it.
UNTYPED = (
    "tests/training/test_checkpoints.py",
    "tests/training/test_loop.py::test_learns_and_logs",
)
PAGE = ("-m", "check", "tests/check/test_demo_page_in_browser.py")


@pytest.fixture(scope="module")
def lowest(tmp_path_factory):
    """A copy of the sources, and the Python of an environment with the lowest versions."""
    sources = copy_sources(tmp_path_factory.mktemp("sources"))
    wanted = f"{sources}[{','.join(EXTRAS)}]"
    words = ("--resolution", "lowest-direct", "--editable", wanted)
    python = make_environment(tmp_path_factory.mktemp("lowest") / "environment", *words) / "python"
    # What is there stays: the tools are no dependencies of lipjax.
    run(*UV, "pip", "install", "--quiet", "--python", python, *TOOLS, cwd=sources)
    return sources, python


def test_the_versions_are_the_lowest(lowest):
    sources, python = lowest
    code = "import importlib.metadata as m; print(*m.requires('lipjax'), sep='\\n')"
    seen = 0
    listed = run(*UV, "pip", "freeze", "--python", python, cwd=sources).lower().replace("_", "-")
    installed = dict(line.split("==") for line in listed.splitlines() if "==" in line)
    for line in run(python, "-c", code, cwd=sources).splitlines():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in EXTRAS):
            lowest_of = [s.version for s in requirement.specifier if s.operator == ">="]
            found = installed[requirement.name.lower().replace("_", "-")].split("+")[0]
            assert same(found, *lowest_of), requirement
            seen += 1
    assert seen > 15


def same(version: str, bound: str) -> bool:
    """Whether a version is the first that a bound allows: 3.9 is 3.9.0, and 4.10 is 4.10.0.82."""
    numbers, wanted = version.split("."), bound.split(".")
    rest = numbers[len(wanted) :]
    return numbers[: len(wanted)] == wanted and set(rest[: 3 - len(wanted)]) <= {"0"}


@pytest.mark.parametrize("part", [PART, ("-o", "addopts=--import-mode=importlib", *UNTYPED), PAGE])
def test_the_heart_of_the_tests_runs(lowest, part):
    sources, python = lowest
    told = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *part, cwd=sources)
    print(told[-400:])
    assert " passed" in told
