# SPDX-License-Identifier: Apache-2.0
"""Backends: dlib on a real face that ships with scikit-image, landmark files, error paths."""

import sys

import numpy as np
import pytest
from skimage import data

from lipjax.data.schema import MEASURED, MISSING
from lipjax.errors import ConfigError, FaceNotFoundError, MediaError
from lipjax.media import crops, faces


def similar(scale, angle, x, y):
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, x], [s, c, y]])


@pytest.fixture(scope="module")
def portrait():
    """A real face, 360 x 288, about 60 pixels wide between the ears."""
    return crops.warp(data.astronaut(), similar(0.8, 0.0, 0.0, 10.0), (288, 360))


@pytest.fixture(scope="module")
def dlib_backend():
    return faces.load_backend("dlib")


@pytest.fixture(scope="module")
def face(portrait, dlib_backend):
    return faces.face_in_image(portrait, dlib_backend)


def test_dlib_finds_the_face_where_it_is(face):
    left, right = (face.landmarks[i].mean(0) for i in (slice(36, 42), slice(42, 48)))
    # Eyes and mouth of the astronaut, measured by eye in the 512-pixel original.
    np.testing.assert_allclose(left / 0.8, [204, 110 - 12.5 + 12.5], atol=8)
    assert right[0] - left[0] == pytest.approx(0.8 * 46, abs=6)
    mouth = face.landmarks[crops.MOUTH].mean(0)
    assert left[1] + 15 < mouth[1] < left[1] + 60 and left[0] < mouth[0] < right[0]
    assert face.score > 0.5


def test_landmarks_are_the_same_face_when_moved_by_less_than_a_pixel(portrait, face):
    moved = crops.warp(portrait, similar(1.0, 0.0, 0.5, 0.5), (288, 360))
    box = tuple(side + 0.5 for side in face.box)
    again = faces.fit_landmarks(moved, box) - 0.5
    assert np.linalg.norm(again - faces.fit_landmarks(portrait, face.box), axis=1).mean() < 0.3
    # Finer than whole pixels, though the predictor answers in whole ones.
    assert np.unique(np.round(again % 1, 2)).size > 10


@pytest.mark.parametrize("degrees", [-25, 15, 30])
def test_a_tilted_face_gets_the_landmarks_of_the_upright_one(portrait, face, degrees):
    middle = face.landmarks.mean(0)
    turn = similar(1.0, np.radians(degrees), 0, 0)
    turn[:, 2] = middle - turn[:, :2] @ middle
    tilted = crops.warp(portrait, turn, (288, 360))
    there = crops.apply(turn, face.landmarks.astype(np.float64)).astype(np.float32)
    fitted = faces.fit_landmarks(tilted, faces.box_of_landmarks(there))
    assert np.linalg.norm(fitted - there, axis=1)[crops.MOUTH].mean() < 0.8


def test_fitting_is_deterministic_and_grey_or_colour(portrait, face):
    import cv2

    grey = cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY)
    first = faces.fit_landmarks(portrait, face.box)
    np.testing.assert_array_equal(first, faces.fit_landmarks(portrait, face.box))
    np.testing.assert_array_equal(first, faces.fit_landmarks(grey, face.box))
    roll = faces.fit_roll(portrait, face.box)
    np.testing.assert_array_equal(first, faces.fit_landmarks(portrait, face.box, roll=roll))
    other = faces.fit_landmarks(portrait, face.box, roll=roll + 0.3)
    assert np.abs(first - other).max() > 0.1


def test_the_box_of_landmarks_is_near_the_detectors(portrait, face):
    detector, _ = faces.dlib_faces.models()
    found = detector(portrait, 1)[0]
    box = tuple(map(float, (found.left(), found.top(), found.right(), found.bottom())))
    assert faces.dlib_faces.overlap(box, face.box) > 0.6


def test_a_small_face_in_a_large_picture_and_none_in_noise(portrait, dlib_backend):
    large = np.full((900, 1400, 3), 90, np.uint8)
    large[300:588, 500:860] = portrait
    found = faces.face_in_image(large, dlib_backend)
    np.testing.assert_allclose(
        found.landmarks.mean(0) - [500, 300],
        faces.face_in_image(portrait, dlib_backend).landmarks.mean(0),
        atol=2,
    )
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    with pytest.raises(FaceNotFoundError, match="200x200"):
        faces.face_in_image(noise, dlib_backend)


def test_following_a_real_face_notices_when_it_is_hidden(portrait, dlib_backend):
    frames = []
    for n in range(24):
        shift = similar(1.0, 0.05 * np.sin(n), 1.5 * n, 3 * np.sin(n / 3))
        image = crops.warp(portrait, shift, (288, 360))
        if 12 <= n < 20:
            # Hidden without new colours: the pixels of the face change places.
            hidden = image[60:170, int(120 + 1.5 * n) :][:, :110]
            hidden[:] = np.random.default_rng(0).permuted(hidden, axis=0)
        frames.append((image, n, n / 25))
    found = faces.track(iter(frames), dlib_backend)
    assert (found.status[:12] == MEASURED).all() and (found.status[20:] == MEASURED).all()
    assert (found.status[12:20] == MISSING).all() and found.cuts == ()
    drift = found.landmarks[11].mean(0) - found.landmarks[0].mean(0)
    assert drift[0] == pytest.approx(16.5, abs=6)


def test_landmark_files_are_read_by_source_frame(tmp_path, portrait):
    video = tmp_path / "a" / "clip.b.mp4"
    video.parent.mkdir()
    assert faces.landmark_file(video) == video.parent / "clip.b.landmarks.npy"
    points = np.random.default_rng(0).uniform(50, 150, (4, 68, 2)).astype(np.float32)
    points[2, 5] = np.nan
    np.save(faces.landmark_file(video), points)
    for name in ("files", "auto"):
        backend = faces.load_backend(name, video=video)
        np.testing.assert_array_equal(backend(portrait, 3, None)[0].landmarks, points[3])
        assert backend(portrait, 2, None) == [] and backend(portrait, 4, None) == []
    assert faces.load_backend("auto", video=tmp_path / "x.mp4") is faces.load_backend("dlib")


@pytest.mark.parametrize("content", [b"", b"not numpy", "shape", "dtype"])
def test_damaged_landmark_files_are_named(tmp_path, content):
    path = faces.landmark_file(tmp_path / "clip.mp4")
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        shape, dtype = ((3, 5, 2), "f4") if content == "shape" else ((3, 68, 2), "i4")
        np.save(path, np.zeros(shape, dtype))
    with pytest.raises(MediaError, match="clip.landmarks.npy"):
        faces.load_backend("files", video=tmp_path / "clip.mp4")


def test_wrong_names_and_missing_parts_are_config_errors(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="did you mean 'dlib'"):
        faces.load_backend("dlbi")
    with pytest.raises(ConfigError, match="name of the video"):
        faces.load_backend("files")
    with pytest.raises(MediaError, match="landmarks.npy"):
        faces.load_backend("files", video=tmp_path / "none.mp4")
    with pytest.raises(ConfigError, match="task file"):
        faces.load_backend(f"mediapipe:{tmp_path / 'none.task'}")
    (tmp_path / "face.task").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(ConfigError, match="pip install mediapipe"):
        faces.load_backend(f"mediapipe:{tmp_path / 'face.task'}")
    faces.dlib_faces.models.cache_clear()
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(ConfigError, match=r"lipjax\[landmarks\]"):
        faces.load_backend("dlib")


def test_mesh_points_are_68_different_ones_in_the_right_places():
    index = faces.MEDIAPIPE_POINTS
    assert len(index) == len(set(index)) == 68 and min(index) >= 0 and max(index) < 468
    mesh = np.arange(478 * 2, dtype=np.float64).reshape(478, 2)
    points = faces.points_of_mesh(mesh)
    assert points.dtype == np.float32 and points.shape == (68, 2)
    # Documented by MediaPipe: 61 and 291 are the corners of the mouth, 13 and 14 the middles of
    # the inner lips, 33 and 263 the outer corners of the eyes, 152 the chin.
    for ours, theirs in ((48, 61), (54, 291), (62, 13), (66, 14), (36, 33), (45, 263), (8, 152)):
        np.testing.assert_array_equal(points[ours], mesh[theirs])
