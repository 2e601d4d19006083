# SPDX-License-Identifier: Apache-2.0
"""What would be uploaded: built from a clean copy, installed away from it, and used there."""

import email
import re
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from environment_tools import UV, copy_sources, make_environment, run
from packaging.metadata import Metadata
from PIL import Image

import lipjax
from lipjax.data.babble import make_babble
from lipjax.media.audio import read_sound, write_wav
from lipjax.media.video import read_video

pytestmark = pytest.mark.check

HEAVY = "av cv2 dlib grain jax librosa matplotlib numba orbax scipy tensorboard tensorflow_datasets"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of the archives: the sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    sources = copy_sources(tmp_path_factory.mktemp("sources"))
    run(*UV, "build", "--quiet", "--out-dir", folder, sources, cwd=folder)
    run(*UV, "build", "--quiet", "--wheel", "--out-dir", folder / "direct", sources, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The `bin` of an environment with the wheel and the extras that the README names."""
    folder = tmp_path_factory.mktemp("fresh") / "environment"
    return make_environment(folder, f"{wheel}[media,landmarks]")


def names_in(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def test_the_wheel_holds_the_package_and_nothing_else(built, wheel, tmp_path):
    sources = copy_sources(tmp_path)
    wanted = {p.relative_to(tmp_path).as_posix() for p in (tmp_path / "lipjax").rglob("*.*")}
    wanted |= {f"lipjax/configs/{path.name}" for path in (sources / "configs").glob("*.py")}
    found = names_in(wheel)
    info = f"lipjax-{lipjax.__version__}.dist-info/"
    packaged = {name for name in found if not name.startswith(info)}
    assert packaged == wanted
    assert {"lipjax/py.typed", "lipjax/__init__.pyi", "lipjax/configs/at_a_glance.py"} <= packaged
    models = {name.split("/")[2] for name in packaged if "/pretrained_models/" in name}
    assert models and all(
        f"lipjax/pretrained_models/{model}/MODEL_CARD.md" in packaged for model in models
    )
    assert info + "licenses/LICENSE" in found and info + "entry_points.txt" in found
    assert wheel.stat().st_size < 25e6
    (direct,) = (built / "direct").glob("*.whl")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(direct) as other:
        for name in found | names_in(direct):
            assert one.read(name) == other.read(name), f"{name}: from the sdist it is another"


def test_the_sdist_holds_what_a_build_needs(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    top = {name.split("/")[0] for name in found} - {""}
    assert top == {
        "CHANGELOG.md", "CITATION.cff", "LICENSE", "MANIFEST.in", "PKG-INFO", "README.md",
        "configs", "lipjax", "lipjax.egg-info", "pyproject.toml", "setup.cfg", "setup.py",
    }  # fmt: skip
    assert not {name for name in found if "__pycache__" in name or name.endswith((".mp4", ".pyc"))}


def test_the_metadata_are_what_an_index_takes(wheel, built):
    with zipfile.ZipFile(wheel) as archive:
        raw = archive.read(f"lipjax-{lipjax.__version__}.dist-info/METADATA")
    told = Metadata.from_email(raw, validate=True)
    assert str(told.version) == lipjax.__version__ and told.license_expression == "Apache-2.0"
    assert {"media", "landmarks", "cuda"} <= set(told.provides_extra)
    assert told.project_urls and str(told.requires_python) == ">=3.11"
    text = email.message_from_bytes(raw).get_payload()
    # The page of an index has no files beside it: a relative link would lead nowhere.
    relative = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert "lipjax" in text and not relative
    run(*UV, "tool", "run", "--quiet", "twine", "check", "--strict", *built.glob("lipjax-*"),
        cwd=built)  # fmt: skip


def test_installed_versions_fit_each_other(installed):
    run(*UV, "pip", "check", "--python", installed / "python", cwd=installed)


def test_importing_is_light(installed, tmp_path):
    code = f"""
import statistics, subprocess, sys, lipjax
assert "site-packages" in lipjax.__file__, lipjax.__file__
there = [name for name in {HEAVY.split()} if name in sys.modules]
assert not there, there
lipjax.Generator
there = [name for name in {HEAVY.split()} if name in sys.modules and name not in ("jax", "scipy")]
assert not there, there

def seconds(what):
    code = f"import time; t = time.perf_counter(); import {{what}}; print(time.perf_counter() - t)"
    times = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5)]
    return statistics.median(times)

print(f"import jax {{seconds('jax'):.2f}} s, import jax, lipjax {{seconds('jax, lipjax'):.2f}} s")
"""
    print(run(installed / "python", "-c", code, cwd=tmp_path))


def test_every_public_name_is_there(installed, tmp_path):
    code = "import lipjax; print(len([getattr(lipjax, name) for name in lipjax.__all__]))"
    assert run(installed / "python", "-c", code, cwd=tmp_path).split()[-1] == str(
        len(lipjax.__all__)
    )


def test_every_command_has_its_help(installed, tmp_path):
    told = run(installed / "lipjax", "--help", cwd=tmp_path)
    names = re.findall(r"^    (\w+) ", told, re.MULTILINE)
    assert {"prepare", "train", "eval", "generate"} <= set(names)
    for name in names:
        assert "usage: lipjax" in run(installed / "lipjax", name, "--help", cwd=tmp_path)


def test_five_lines_use_a_network(installed, tmp_path):
    code = """
import jax, lipjax
flow = lipjax.FlowNet(widths=(8, 16, 16), decoder_widths=(8,))
first, second = jax.random.uniform(jax.random.key(0), (2, 1, 64, 64, 3), minval=-1)
variables = flow.init(jax.random.key(1), first, second)
print([maps.shape for maps in flow.apply(variables, first, second)])
"""
    told = run(installed / "python", "-c", code, cwd=tmp_path)
    assert told.splitlines()[-1] == "[(1, 16, 16, 2), (1, 8, 8, 2)]"


def test_a_config_is_known_by_its_name(installed, tmp_path):
    """Without a corpus nothing trains, but the config was found in the package."""
    words = ("train", "--config", "at_a_glance.py:tiny", "--workdir", tmp_path / "run", "--dry-run")
    told = run(installed / "lipjax", *words, cwd=tmp_path)
    assert "parameters" in told, told


def test_the_model_that_came_along_talks(installed, tmp_path):
    """A drawn face and somebody else's sentence, in a folder with nothing else in it."""
    make_babble(tmp_path / "videos", speakers=2, sentences_per_speaker=1, seed=77)
    one, other = sorted((tmp_path / "videos").rglob("*.mp4"))
    Image.fromarray(next(iter(read_video(one))).image).save(tmp_path / "face.jpg")
    speech = read_sound(other)
    write_wav(tmp_path / "speech.wav", speech)
    words = ("--face", "face.jpg", "--audio", "speech.wav", "--out", "talk.mp4")
    print(run(installed / "lipjax", "generate", *words, cwd=tmp_path))
    frames = [frame.image for frame in read_video(tmp_path / "talk.mp4")]
    assert abs(len(frames) - speech.duration * 25) <= 1
    assert abs(read_sound(tmp_path / "talk.mp4").duration - speech.duration) < 0.1
    # The picture stands still but for the mouth, which moves.
    change = np.std(np.stack(frames).astype(np.float32), axis=0).mean(-1)
    middle = change.shape[0] // 2
    assert change[middle:].max() > 15 > 3 > np.median(change)


USER = """\
import jax
import lipjax

generator = lipjax.Generator(size=96, **lipjax.strides_for(96, 128))
model = lipjax.load()
video = model("mouth.png", "speech.wav")
frames, height = video.shape[:2]
settings: lipjax.LogMel = lipjax.LogMel(rate=16_000)
samples = jax.numpy.zeros((1, 16_000))
feature: jax.Array = lipjax.log_mel(samples, settings, settings.filters())
try:
    corpus = lipjax.open_corpus("corpus")
except lipjax.CorpusError as error:
    print(error)
"""
WRONG = {
    "lipjax.Generater()": "Generater",
    "lipjax.load(3)": "arg-type",
    "lipjax.open_corpus()": "call-arg",
    "lipjax.LogMel(rate='much')": "arg-type",
    "lipjax.Generator(sise=64)": "call-arg",
}


def test_type_checkers_know_the_installed_names(installed, tmp_path):
    (tmp_path / "right.py").write_text(USER)
    words = (sys.executable, "-m", "mypy", "--python-executable", installed / "python")
    assert "no issues" in run(*words, "right.py", cwd=tmp_path)
    (tmp_path / "wrong.py").write_text("import lipjax\n" + "\n".join(WRONG) + "\n")
    told = run(*words, "wrong.py", cwd=tmp_path, code=1).splitlines()
    for number, (line, says) in enumerate(WRONG.items(), start=2):
        assert any(t.startswith(f"wrong.py:{number}:") and says in t for t in told), (line, told)
