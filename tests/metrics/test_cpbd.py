# SPDX-License-Identifier: Apache-2.0
"""CPBD against the reference package and its published constants."""

import sys
import types

import numpy as np
import pytest
import skimage
from scipy import ndimage
from skimage.feature import canny

from lipjax.metrics import cpbd as ours


@pytest.fixture(scope="module")
def reference():
    """python-cpbd's function; the package imports names that SciPy has dropped."""
    if not hasattr(ndimage, "imread"):
        ndimage.imread = None
        sys.modules.setdefault("scipy.misc", types.ModuleType("scipy.misc"))
    import cpbd

    return cpbd.compute


@pytest.mark.parametrize(
    "sigma, value",
    [(0, 0.7481657466), (1, 0.2894975102), (2, 0.0123696338), (3, 0.0027835769)],
)
def test_constants_of_camera(sigma, value):
    picture = skimage.data.camera().astype(np.float64)
    if sigma:
        picture = ndimage.gaussian_filter(picture, sigma, mode="nearest")
    assert abs(ours.cpbd(picture) - value) < 1e-9


def pictures():
    rng = np.random.default_rng(0)
    face = skimage.data.astronaut()[0:192, 130:290]
    steps = np.zeros((70, 130))
    steps[:, 40:] = 90
    steps[:, 90:] = 30
    return {
        "face": ours.luma(face),
        "sized": ours.luma(skimage.data.coffee()[:128, 100:300]),
        "noise": rng.integers(0, 256, (64, 64)).astype(np.uint8),
        "soft noise": ndimage.gaussian_filter(rng.uniform(0, 255, (130, 129)), 2),
        "steps": steps,
        "ramp": np.tile(np.linspace(0, 255, 256), (64, 1)),
        "flat": np.full((64, 64), 7.0),
        "checks": np.kron(np.indices((16, 16)).sum(0) % 2, np.ones((8, 8))) * 200.0,
        "small": rng.uniform(0, 255, (63, 200)),
        # Canny edges in a corner of a block alone: enough of them, and too few.
        "corner": _corner(rng, 12),
        "speck": _corner(rng, 3),
    }


def _corner(rng: np.random.Generator, side: int) -> np.ndarray:
    picture = np.full((64, 128), 90, np.uint8)
    picture[:, 64:] = rng.integers(80, 100, (64, 64))
    picture[2 : 2 + side, 2 : 2 + side] = rng.integers(0, 256, (side, side))
    return picture


@pytest.mark.parametrize("name", pictures())
def test_equals_the_reference(reference, name):
    picture = pictures()[name]
    assert abs(ours.cpbd(picture) - float(reference(picture))) < 1e-9


def test_many_frames_at_once_are_the_same_as_one_by_one():
    face, rng = pictures()["face"], np.random.default_rng(1)
    dull = ndimage.gaussian_filter(face.astype(float), 1).astype(np.uint8)
    frames = [face, dull, np.full_like(face, 3), rng.integers(0, 256, face.shape, np.uint8)]
    frames.append(np.where(np.arange(face.shape[1]) < 99, face, 40).astype(np.uint8))
    alone = [ours.cpbd(frame) for frame in frames]
    np.testing.assert_array_equal(ours.cpbd_of_frames(np.stack(frames)), alone)
    assert len(set(alone)) == 5
    assert ours.cpbd_of_frames(np.zeros((0, 64, 64), np.uint8)).shape == (0,)


@pytest.mark.parametrize("name", ["face", "noise", "soft noise", "checks"])
def test_canny_equals_scikit_image(name):
    picture = pictures()[name].astype(np.float64)
    np.testing.assert_array_equal(ours.canny(picture), canny(picture))


def test_luma_is_pillow_mode_l():
    from PIL import Image

    picture = skimage.data.astronaut()[:40, :50]
    np.testing.assert_array_equal(
        ours.luma(picture), np.asarray(Image.fromarray(picture).convert("L"))
    )
