# SPDX-License-Identifier: Apache-2.0
"""The MediaPipe backend against a stand-in for the package: order, pixels, nearness, errors.

What the stand-in answers was taken from MediaPipe 0.10.21 and 1.2.2.
"""

import gc
import sys
import types
import weakref

import numpy as np
import pytest

from lipjax.errors import ConfigError
from lipjax.media import faces

CONTOURS = {
    "jaw": (
        (0, 17),
        "127 234 93 132 58 172 136 150 149 176 148 152 377 400 378 379 365 397 288 361 323 454 356",
    ),
    "right eyebrow": ((17, 22), "70 63 105 66 107"),
    "left eyebrow": ((22, 27), "336 296 334 293 300"),
    "bridge of the nose": ((27, 31), "168 6 197 195 5 4"),
    "right eye": ((36, 42), "33 246 161 160 159 158 157 173 133 155 154 153 145 144 163 7"),
    "left eye": ((42, 48), "362 398 384 385 386 387 388 466 263 249 390 373 374 380 381 382"),
    "outer lips": (
        (48, 60),
        "61 185 40 39 37 0 267 269 270 409 291 375 321 405 314 17 84 181 91 146",
    ),
    "inner lips": (
        (60, 68),
        "78 191 80 81 82 13 312 311 310 415 308 324 318 402 317 14 87 178 88 95",
    ),
}
"""Parts of the 68 points, and the lines that MediaPipe itself draws along them."""


@pytest.mark.parametrize("part", CONTOURS)
def test_points_follow_mediapipes_contours_in_dlibs_order(part):
    (start, stop), contour = CONTOURS[part]
    names = [int(name) for name in contour.split()]
    places = [names.index(point) for point in faces.MEDIAPIPE_POINTS[start:stop]]
    assert places == sorted(set(places)) and places[0] == 0


def mesh(x, y, size):
    """A made-up mesh around (x, y) in pixels, `size` wide."""
    points = np.random.default_rng(3).uniform(-0.5, 0.5, (478, 2))
    return points * size + [x, y]


class Landmarker:
    """What a scene is asked through."""


class Scene:
    """A stand-in for the package: it sees the meshes that lie whole in what it is given.

    A pixel knows its place: red is its column, green its row.
    """

    def __init__(self, meshes=(), error=None):
        self.meshes, self.error, self.seen, self.landmarkers = meshes, error, [], []

    def install(self, monkeypatch):
        vision = types.ModuleType("mediapipe.tasks.python.vision")
        vision.FaceLandmarkerOptions = lambda **options: options
        vision.RunningMode = types.SimpleNamespace(IMAGE="image")
        vision.FaceLandmarker = types.SimpleNamespace(create_from_options=self.create)
        python = types.ModuleType("mediapipe.tasks.python")
        python.BaseOptions, python.vision = lambda model_asset_path: model_asset_path, vision
        top = types.ModuleType("mediapipe")
        top.Image, top.ImageFormat = self.image, types.SimpleNamespace(SRGB="rgb")
        tasks = types.ModuleType("mediapipe.tasks")
        for module in (top, tasks, python, vision):
            monkeypatch.setitem(sys.modules, module.__name__, module)

    def image(self, image_format, data):
        assert image_format == "rgb" and data.flags.c_contiguous and data.dtype == np.uint8
        return data

    def create(self, options):
        self.options = options
        if self.error is not None:
            raise self.error
        landmarker = Landmarker()
        landmarker.detect = self.detect
        self.landmarkers.append(weakref.ref(landmarker))
        return landmarker

    def detect(self, picture):
        high, wide = picture.shape[:2]
        corner = picture[0, 0, :2].astype(float)
        self.seen.append((*corner, wide, high))
        found = []
        for points in self.meshes:
            own = points - corner
            if (own >= 0).all() and (own < [wide, high]).all():
                # MediaPipe divides by the size; its 0 is the centre of the first pixel.
                found.append([types.SimpleNamespace(x=x / wide, y=y / high) for x, y in own])
        return types.SimpleNamespace(face_landmarks=found)


@pytest.fixture
def load(tmp_path, monkeypatch):
    """A function that returns the backend which sees a scene."""
    file = tmp_path / "face_landmarker.task"
    file.write_bytes(b"x")

    def backend(scene):
        scene.install(monkeypatch)
        return faces.load_backend(f"mediapipe:{file}")

    return backend


@pytest.fixture
def picture():
    image = np.zeros((180, 250, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(250), np.arange(180)[:, None]
    return image


def test_landmarks_are_pixels_of_the_whole_picture(load, picture):
    left, right = mesh(60, 90, 30), mesh(190, 100, 40)
    scene = Scene([left, right])
    found = load(scene)(picture, 0, None)
    assert len(found) == 2 and scene.options["running_mode"] == "image"
    assert scene.options["base_options"].endswith("face_landmarker.task")
    for face, points in zip(found, (left, right), strict=True):
        assert face.landmarks.dtype == np.float32 and face.score == 1.0
        expected = points[list(faces.MEDIAPIPE_POINTS)]
        np.testing.assert_allclose(face.landmarks, expected, atol=1e-4)
        np.testing.assert_allclose(face.box, faces.box_of_landmarks(face.landmarks))


def test_each_face_is_looked_at_from_near(load, picture):
    points = mesh(60, 90, 20)
    scene = Scene([points, mesh(190, 100, 40)])
    backend = load(scene)
    box = faces.box_of_landmarks(points[list(faces.MEDIAPIPE_POINTS)])
    (face,) = backend(picture, 1, box)
    np.testing.assert_allclose(face.landmarks, points[list(faces.MEDIAPIPE_POINTS)], atol=1e-4)
    ((x, y, wide, high),) = scene.seen
    side = faces.MEDIAPIPE_LOOK * (box[2] - box[0])
    assert side <= wide <= side + 2 and side <= high <= side + 2
    np.testing.assert_allclose([x + wide / 2, y + high / 2], [60, 90], atol=4)
    scene.seen.clear()
    backend(picture, 0, None)
    assert scene.seen[0] == (0, 0, 250, 180) and scene.seen[1] == (x, y, wide, high)


def test_a_face_that_is_not_there_is_not_found(load, picture):
    backend = load(Scene([mesh(60, 90, 20)]))
    beside = (85, 70, 125, 110)
    for elsewhere in (beside, (150, 20, 190, 60), (900, 900, 950, 950), (-90, -90, -50, -50)):
        assert backend(picture, 1, tuple(map(float, elsewhere))) == []
    assert load(Scene())(picture, 0, None) == []


def test_a_face_seen_only_from_afar_is_kept(load, picture):
    class Afar(Scene):
        def detect(self, picture):
            whole = picture.shape[1] == 250
            return super().detect(picture) if whole else types.SimpleNamespace(face_landmarks=[])

    (face,) = load(Afar([mesh(60, 90, 30)]))(picture, 0, None)
    np.testing.assert_allclose(face.landmarks.mean(0), [60, 90], atol=6)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Unable to open zip archive."),
        FileNotFoundError("No file with name: face_detector.tflite."),
        ValueError("Input image tensor misses metadata"),
    ],
)
def test_a_task_file_that_is_none_is_a_config_error(load, error):
    with pytest.raises(ConfigError, match=rf"face_landmarker.task: .*{error}.*give the"):
        load(Scene(error=error))


def test_the_landmarker_ends_with_its_backend(load):
    scene = Scene()
    backend = load(scene)
    gc.disable()
    try:
        assert scene.landmarkers[0]() is not None
        del backend
        assert scene.landmarkers[0]() is None
    finally:
        gc.enable()
