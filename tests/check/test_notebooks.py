# SPDX-License-Identifier: Apache-2.0
"""Every notebook from its first cell to its last, in a fresh folder, and what it must show."""

import base64
import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

pytestmark = pytest.mark.check

COLABS = Path(__file__).parents[2] / "colabs"
SECONDS = 1500
"""For one cell: minutes of its own on two busy cores, never hanging for ever."""
PNG = b"\x89PNG\r\n"


class Shown:
    """What an executed notebook shows.

    Attributes:
        text: everything printed.
        figures: cell -> the PNG pictures it drew.
        videos: the mp4 files that play in it.
    """

    def __init__(self, notebook):
        self.text, self.figures, self.videos = "", {}, []
        for cell in notebook.cells:
            for output in cell.get("outputs", ()):
                self.text += output.get("text", "") if output.get("name") == "stdout" else ""
                data = output.get("data", {})
                if "image/png" in data:
                    picture = base64.b64decode(data["image/png"])
                    self.figures.setdefault(cell.id, []).append(picture)
                for found in re.findall(
                    r"data:video/mp4;base64,([^\"]+)", data.get("text/html", "")
                ):
                    self.videos.append(base64.b64decode(found))

    def numbers(self, pattern):
        """The numbers in what was printed, by a pattern with groups."""
        found = re.search(pattern, self.text)
        assert found, f"nothing printed like {pattern!r}:\n{self.text[-3000:]}"
        return [float(number) for number in found.groups()]


@pytest.fixture
def executed(tmp_path, monkeypatch):
    """Runs a notebook; fails with the cell and its error."""
    temporary, folder = tmp_path / "temporary", tmp_path / "folder"
    temporary.mkdir(), folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.delenv("XLA_FLAGS", raising=False)  # the simulated devices of these tests
    # Nothing is downloaded, and nothing is taken from another run's compiled programs.
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))

    def execute(name):
        notebook = nbformat.read(COLABS / f"{name}.ipynb", as_version=4)
        client = NotebookClient(
            notebook,
            timeout=SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
        )
        # On a busy machine Python needs a while to end, and to empty its folder before it does.
        client.create_kernel_manager()
        client.km.shutdown_wait_time = 120.0
        try:
            client.execute()
        except CellExecutionError as error:
            pytest.fail(f"{name}.ipynb:\n{error}", pytrace=False)
        assert not os.listdir(folder), "left behind where it ran"
        left = [path.name for path in temporary.iterdir() if path.name.startswith("lipjax-")]
        assert not left, "left behind in the temporary folder"
        return Shown(notebook)

    return execute


def check_figures(shown, cells):
    assert set(shown.figures) == set(cells)
    for name, pictures in shown.figures.items():
        for picture in pictures:
            assert picture.startswith(PNG) and len(picture) > 5_000, name


def check_video(shown):
    (video,) = shown.videos
    assert video[4:8] == b"ftyp" and len(video) > 10_000


def test_make_a_mouth_speak(executed):
    shown = executed("make_a_mouth_speak")
    check_figures(shown, ["hear", "honest"])
    check_video(shown)
    (ratio,) = shown.numbers(r"moves ([\d.]+) times as much as with silence")
    assert ratio > 3
    assert "Synthetic speech video made with lipjax" in shown.text


def test_train_and_watch(executed):
    shown = executed("train_and_watch")
    check_figures(shown, ["corpus", "curves", "sheets", "r"])
    check_video(shown)
    first, last = shown.numbers(r"pixel loss: ([\d.]+) at first, ([\d.]+) at last")
    assert last < 0.95 * first
    right, wrong = shown.numbers(r"pretrained: r (-?[\d.]+), wrong sound (-?[\d.]+)")
    assert right > 0.6 and right > wrong + 0.2


def test_your_own_videos(executed):
    shown = executed("your_own_videos")
    check_figures(shown, ["kept", "train"])
    check_video(shown)
    reasons = dict(
        re.findall(r"^odd/(\w+)\.mp4 +(no \w+|\w+(?: \w+)?)  ", shown.text, re.MULTILINE)
    )
    assert set(reasons) == {"cut_off", "no_face", "no_sound", "no_video"}
    assert reasons["no_face"] == "no face" and reasons["no_sound"] == "no sound"
    kept, whole = shown.numbers(r"from (\d+) of (\d+) videos")
    assert kept == 12 and whole == 16


def test_the_networks_as_a_library(executed):
    shown = executed("the_networks_as_a_library")
    check_figures(shown, ["count", "inside", "flow", "corr", "loop", "swap"])
    assert "(1, 16, 64, 64, 3)" in shown.text
    own, other = shown.numbers(r"own sound (-?[\d.]+), another's (-?[\d.]+)")
    assert own > other + 0.1


def test_evaluation_and_the_papers_tables(executed):
    shown = executed("evaluation_and_the_papers_tables")
    cells = ["pixels", "cpbd", "lips", "rows", "boot", "ablation-figure"]
    check_figures(shown, cells)
    by_hand, ours = shown.numbers(r"by hand ([\d.]+) dB, lipjax.psnr ([\d.]+) dB")
    assert by_hand == pytest.approx(ours, abs=2e-3)
    for found in re.findall(r"LMD ([\d.]+) \(lipjax.lmd ([\d.]+)\)", shown.text):
        assert float(found[0]) == pytest.approx(float(found[1]), abs=2e-3)
    right, wrong = shown.numbers(r"with the right sound (-?[\d.]+), with the wrong one (-?[\d.]+)")
    assert right > 0.6 and right > wrong + 0.2
    for row in ("motionless mean mouth", "still picture", "linear predictor", "model, wrong sound"):
        assert f"\n{row} " in shown.text
    assert re.search(r"^\(b\) +pixel .*0\.79", shown.text, re.MULTILINE)
    assert re.search(r"^\(c\) +adversarial", shown.text, re.MULTILINE)
