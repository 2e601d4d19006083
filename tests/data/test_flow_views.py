# SPDX-License-Identifier: Apache-2.0
"""Views of flow: the right maps, in pixels of the task's grid, following every change."""

import dataclasses

import cv2
import numpy as np
import pytest
from synthetic import make_clip, make_corpus

from lipjax.data.augment import Augment, Change
from lipjax.data.derive import derive
from lipjax.data.views import ClipViews, Streams, View, resize_flow
from lipjax.data.windows import Windows
from lipjax.errors import CorpusError
from lipjax.media.audio import LogMel
from lipjax.media.optical_flow import farneback

LOG_MEL = LogMel(bands=40)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A read-only corpus of 32-pixel crops with their flow."""
    made = make_corpus(tmp_path_factory.mktemp("flow") / "corpus", frames=24)
    derive("flow", made.directory, size=32, processes=0, show=None)
    return made


def texture(frames, size, velocity, *, seed=0):
    """A smooth random pattern that moves by `velocity` pixels (x, y) per frame."""
    noise = np.random.default_rng(seed).normal(size=(4 * size, 4 * size, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), size / 12)
    smooth = np.clip(128 + 50 * smooth / smooth.std(), 0, 255)
    pictures = []
    for t in range(frames):
        back = np.float32([[1, 0, size + 8 - velocity[0] * t], [0, 1, size + 8 - velocity[1] * t]])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        pictures.append(cv2.warpAffine(smooth, back, (size, size), flags=flags))
    return np.clip(np.round(pictures), 0, 255).astype(np.uint8)


def views(flow, mouth_size=16, frames=None):
    clip = make_clip(frames=len(flow) + 1 if frames is None else frames)
    streams = Streams(mouth_size=mouth_size, log_mel=LOG_MEL)
    return ClipViews(clip, streams, {"flow": lambda: flow})


def numbered(count, size=16):
    """Maps that hold (t + 1, -t - 1)."""
    flow = np.zeros((count, size, size, 2), np.float16)
    flow[...] = (np.arange(count) + 1)[:, None, None, None] * np.float16([1, -1])
    return flow


def test_a_view_holds_the_maps_of_its_frames_and_no_motion_outside():
    made = views(numbered(9))  # 10 frames
    for anchor, offset, expected in (
        (0, 0, [1, 2, 3, 4]),
        (3, 1, [5, 6, 7, 8]),
        (6, 0, [7, 8, 9, 0]),  # the last frame leads to itself
        (0, -2, [0, 0, 1, 2]),
        (9, 3, [0, 0, 0, 0]),
    ):
        cut = made.cut(View("flow", 4, offset=offset), anchor)
        assert cut.shape == (4, 16, 16, 2) and cut.dtype == np.float32
        np.testing.assert_array_equal(cut[:, 5, 7], np.outer(expected, [1, -1]))


def test_flow_of_the_stored_size_is_that_of_the_frames_shown_at_every_offset():
    clip = make_clip(frames=12, mouth_size=32)
    streams = Streams(mouth_size=32, log_mel=LOG_MEL)
    made = ClipViews(clip, streams, {"flow": lambda: farneback(clip.mouth)})
    for first in (-2, 0, 5, 9):
        shown = made.cut(View("mouth", 5, offset=first), 0)
        flow = made.cut(View("flow", 4, offset=first), 0)
        np.testing.assert_allclose(flow, farneback(shown), atol=1e-3)


@pytest.mark.parametrize("size", [12, 16, 64])
def test_resized_flow_counts_pixels_of_the_new_grid(size):
    stored = 32
    ramp = np.linspace(-1, 1, stored, dtype=np.float16)
    flow = np.zeros((3, stored, stored, 2), np.float16)
    flow[..., 0], flow[..., 1] = 2.0, ramp[:, None]
    made = views(flow, mouth_size=size).cut(View("flow", 3), 0)
    scale = size / stored
    assert made.shape == (3, size, size, 2)
    np.testing.assert_allclose(made[..., 0], 2.0 * scale, rtol=1e-6)
    # Row r of the new grid lies at (r + 1/2) / scale - 1/2 of the old one.
    rows = (np.arange(size) + 0.5) / scale - 0.5
    inside = (rows >= 0) & (rows <= stored - 1)
    expected = np.interp(rows, np.arange(stored), ramp.astype(float)) * scale
    np.testing.assert_allclose(made[0, inside, 3, 1], expected[inside], atol=4e-3 * scale)


def test_a_moving_pattern_has_the_same_motion_at_either_size():
    pictures = texture(4, 64, (2.0, -1.0))
    small = np.stack([cv2.resize(p, (32, 32), interpolation=cv2.INTER_AREA) for p in pictures])
    inner = np.s_[:, 8:-8, 8:-8]
    resized = resize_flow(farneback(pictures), 32)[inner].mean((0, 1, 2))
    direct = farneback(small)[inner].mean((0, 1, 2))
    np.testing.assert_allclose(resized, [1.0, -0.5], atol=0.12)
    np.testing.assert_allclose(direct, [1.0, -0.5], atol=0.12)


def test_flow_that_is_not_the_clip_s_is_refused():
    with pytest.raises(CorpusError, match="7 flow maps"):
        views(numbered(7), frames=10).cut(View("flow", 2), 0)


CHANGES = (
    Change(True, 1.0, 0.0, 0.0, 0.0),
    Change(False, 1.0, 0.0, 0.1, -0.06),
    Change(True, 1.0, 0.0, -0.1, 0.09),
)


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_flow_follows_the_pictures(change):
    pictures = texture(3, 64, (1.5, 0.8))
    # A second motion, so that shifting matters: the lower half stands still.
    pictures[:, 40:] = pictures[:1, 40:]
    flow = farneback(pictures)
    changed, direct = change.flow(flow), farneback(change.pictures(pictures))
    assert changed.dtype == np.float32 and changed.flags.c_contiguous
    inner = np.s_[:, 16:-16, 16:-16]  # repeated edges have a flow of their own
    error = np.linalg.norm(changed - direct, axis=-1)[inner].mean()
    ignored = np.linalg.norm(flow - direct, axis=-1)[inner].mean()
    assert error < 0.01 and ignored > 0.1
    assert np.sign(changed[inner][..., :8, :, 0].mean()) == (-1 if change.mirrored else 1)


def test_brightness_leaves_flow_alone():
    flow = np.random.default_rng(0).normal(size=(2, 8, 8, 2)).astype(np.float32)
    np.testing.assert_array_equal(Change(False, 1.3, 20.0, 0.0, 0.0).flow(flow), flow)


INPUTS = {
    "video": View("mouth", 8),
    "flow": View("flow", 7),
    "other": View("mouth", 4, where="other_clip"),
    "other_flow": View("flow", 3, where="other_clip"),
}


def windows(corpus, inputs, **options):
    options = {"split": "train", "batch_size": 4, "seed": 1, **options}
    streams = Streams(mouth_size=32, log_mel=LOG_MEL)
    return Windows([corpus], inputs, streams=streams, **options)


def test_windows_join_flow_and_pictures_of_the_same_frames(corpus):
    made = windows(corpus, INPUTS)
    assert made.length == 8
    seen = 0.0
    for batch in [*(made.batch(step) for step in range(3)), made.examples(2)[0]]:
        assert batch["flow"].shape[1:] == (7, 32, 32, 2) and batch["flow"].dtype == np.float32
        for video, flow in (("video", "flow"), ("other", "other_flow")):
            for pictures, maps in zip(batch[video], batch[flow], strict=True):
                np.testing.assert_allclose(maps, farneback(pictures), rtol=2e-3, atol=2e-3)
                seen = max(seen, float(np.abs(maps).max()))
    assert seen > 1.0


def test_changed_windows_change_flow_as_their_pictures(corpus):
    plain = {n: v for n, v in INPUTS.items() if v.where == "window"}
    still, flipped = (windows(corpus, plain, augment=Augment(flip=share)) for share in (0.0, 1.0))
    one, other = still.batch(0), flipped.batch(0)
    np.testing.assert_array_equal(other["video"], one["video"][:, :, :, ::-1])
    np.testing.assert_array_equal(other["flow"], one["flow"][:, :, :, ::-1] * [-1, 1])


def test_a_window_has_room_for_the_frame_that_the_last_map_leads_to(corpus):
    made = windows(corpus, {"video": View("mouth", 8), "flow": View("flow", 8)})
    assert made.length == 9
    frames = corpus.index("train").frames
    assert made.num_windows == sum(frames - 8)
    drawn = {"video": View("mouth", 8), "flow": View("flow", 7, where="same_clip")}
    assert windows(corpus, drawn).batch(0)["flow"].shape == (4, 7, 32, 32, 2)


@pytest.mark.parametrize("count", [1])
def test_worker_processes_read_flow_too(corpus, count):
    alone = windows(corpus, INPUTS)
    stream = windows(corpus, INPUTS, workers=count).iterate(start=2)
    try:
        for step in range(2, 4):
            batch = next(stream)
            for name, value in alone.batch(step).items():
                np.testing.assert_array_equal(batch[name], value)
    finally:
        stream.close()


def test_only_a_view_of_flow_asks_for_it(tmp_path):
    bare = make_corpus(tmp_path / "corpus", frames=16)
    assert windows(bare, {"video": View("mouth", 8)}).batch(0)["video"].shape[1] == 8
    with pytest.raises(CorpusError, match="lipjax derive flow"):
        windows(bare, {"video": View("mouth", 8), "flow": View("flow", 7)})


def test_copies_for_workers_carry_no_clips(corpus):
    import pickle

    made = windows(corpus, INPUTS)
    made.batch(0)
    split = made._splits[0]
    assert len(pickle.dumps(split.clips)) < 4000
    copy = pickle.loads(pickle.dumps(split.clips))
    expected = split.clips[0].cut(View("flow", 3), 2)
    np.testing.assert_array_equal(copy[0].cut(View("flow", 3), 2), expected)
    assert dataclasses.is_dataclass(copy[0].clip)
