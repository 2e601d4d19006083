# SPDX-License-Identifier: Apache-2.0
"""The honest rows and the linear predictor."""

import dataclasses

import numpy as np
import pytest
from synthetic import face_points, make_clip

from lipjax.data.checked import CheckedClips
from lipjax.data.reading import ClipIndex
from lipjax.data.schema import MEASURED, MISSING
from lipjax.evaluation import linear, rows
from lipjax.metrics import image, landmarks


def test_degraded_truth_is_near_but_not_equal():
    mouths = make_clip(frames=4, mouth_size=96).mouth
    again = rows.degraded(mouths)
    assert again.shape == mouths.shape and again.dtype == np.uint8
    decibels = np.asarray(image.psnr(again, mouths))
    assert (decibels > 20).all() and (decibels < 45).all()


def test_degrading_moves_the_picture_by_half_a_pixel():
    column = np.arange(64)
    ramp = np.repeat((40 + 2 * column)[None, :, None], 64, 0).repeat(3, 2).astype(np.uint8)
    moved = rows.degraded(ramp[None])[0][8:-8, 8:-8].astype(float) - ramp[8:-8, 8:-8]
    assert abs(moved.mean()) == pytest.approx(1.0, abs=0.15)


def test_mean_mouth_is_still_and_centred():
    points = face_points(np.array([0.0, 0.2, 0.9, 0.4]))
    points[:, :, 0] += np.arange(4)[:, None]  # where the mouth is does not count
    scored = np.array([True, True, True, False])
    still = rows.mean_mouth(points, scored)
    expected = face_points(np.array([1.1 / 3]))[0]
    mouth = landmarks.MOUTH
    assert landmarks.lmd(still[:, mouth], np.repeat(expected[None, mouth], 4, 0)).max() < 1e-4
    assert np.ptp(still[:, mouth], axis=0).max() == 0
    assert np.isnan(still[:, :48]).all()


def test_predicted_motion_sits_on_the_mean_mouth():
    points, predicted = (
        face_points(np.array([0.0, 0.2, 0.7])),
        face_points(np.array([0.1, 0.5, 0.9])),
    )
    predicted[:, 48:60, 0] *= 1.5  # a face of another shape that moves as much
    scored = np.ones(3, bool)
    mean = rows.mean_mouth(points, scored)
    moved = rows.on_mean_mouth(predicted, mean, scored)
    np.testing.assert_allclose(moved[:, 48:].mean(0), mean[0, 48:], atol=1e-4)
    np.testing.assert_allclose(
        np.diff(moved[:, 48:], axis=0), np.diff(predicted[:, 48:], axis=0), atol=1e-4
    )
    # A frame in which no lips were found stays unknown and spoils no other.
    gone = predicted.copy()
    gone[1] = np.nan
    kept = rows.on_mean_mouth(gone, mean, scored)
    assert np.isnan(kept[1]).all() and np.isfinite(kept[[0, 2], 48:]).all()
    np.testing.assert_allclose(kept[[0, 2], 48:].mean(0), mean[0, 48:], atol=1e-4)


def test_sequences_are_cut_or_begun_again():
    assert rows.of_length(np.arange(5), 3).tolist() == [0, 1, 2]
    assert rows.of_length(np.arange(3), 7).tolist() == [0, 1, 2, 0, 1, 2, 0]


def index_of(*members):
    table = [
        {"id": f"c{i}", "speaker": who, "sentence": what, "source": "", "frames": 9}
        | {"start": 0.0, "lag": 0.0, "lag_correlation": 0.0}
        for i, (who, what) in enumerate(members)
    ]
    return ClipIndex.from_rows(table)


def test_partner_is_of_the_same_speaker_and_says_something_else():
    index = index_of(("s1", "a"), ("s1", "a"), ("s2", "b"), ("s1", "b"), ("s2", "b"), ("s3", "a"))
    assert [rows.partners(index, i)[0] for i in range(6)] == [3, 3, 4, 0, 2, 2]
    # Saying something else; the same words; another speaker's other words; the rest.
    assert rows.partners(index, 0) == [3, 1, 2, 4, 5]
    assert rows.partners(index_of(("s1", "a")), 0) == []
    unknown = index_of(("", ""), ("", ""), ("", ""))
    assert [rows.partners(unknown, i)[0] for i in range(3)] == [1, 2, 0]


def test_wrong_sound_replaces_only_the_sound():
    clip, other = make_clip(frames=40, seed=1), make_clip("s1-b", frames=12, seed=2)
    wrong = rows.with_sound_of(clip, other)
    np.testing.assert_array_equal(wrong.mouth, clip.mouth)
    inside = other.sound[8000 : 8000 + 12 * 640]  # 0.5 s lead at 16 kHz, then 12 frames
    begin = round(-wrong.sound_start * wrong.sound_rate)
    spoken = wrong.sound[begin : begin + 40 * 640]
    np.testing.assert_array_equal(spoken[: len(inside)], inside)
    np.testing.assert_array_equal(spoken[len(inside) : 2 * len(inside)], inside)
    assert len(spoken) == 40 * 640 and not wrong.spans
    silent = rows.without_sound(clip)
    assert not silent.sound.any() and silent.sound_level == float("-inf")


def test_speech_frames_come_from_words_or_from_energy():
    clip = make_clip(frames=40)
    from_words = rows.speech_frames(clip)
    time = (np.arange(40) + 0.5) / 25
    expected = ((time >= 0.1) & (time < 0.4)) | ((time >= 0.5) & (time < 0.9))
    np.testing.assert_array_equal(from_words, expected)
    loud = np.zeros(40, bool)
    loud[[*range(5, 12), *range(15, 20), *range(32, 35)]] = True
    sound = np.random.default_rng(0).normal(0, 3000, len(clip.sound))
    keep = np.repeat(loud, 640)
    sound[8000 : 8000 + 40 * 640] *= keep
    sound[:8000] = sound[8000 + 40 * 640 :] = 0
    quiet = dataclasses.replace(clip, spans=(), sound=sound.astype(np.int16))
    found = rows.speech_frames(quiet)
    loud[12:15] = True  # a short gap is a stop, not a pause
    np.testing.assert_array_equal(found, loud)
    assert not rows.speech_frames(rows.without_sound(clip)).any()


def test_linear_predictor_recovers_a_linear_world():
    rng = np.random.default_rng(0)
    true = rng.normal(size=(30, 40)) * 0.1
    features = [rng.normal(2.0, 3.0, (50, 30)) for _ in range(12)]
    targets = [f @ true + 0.3 + rng.normal(0, 0.01, (50, 40)) for f in features]
    targets[3][7] = np.nan
    fitted = linear.fit(features[:10], targets[:10], ["s"] * 10, seconds=20.0)
    guess = fitted.points(features[11], 1)[:, landmarks.MOUTH].reshape(50, 40)
    assert np.abs(guess - targets[11]).max() < 0.06
    assert fitted.penalty == min(linear._PENALTIES)


def test_linear_predictor_follows_the_sound_of_made_up_clips(tiny_corpus):
    fitted = linear.fit_on(CheckedClips(tiny_corpus, "train"))
    clips = tiny_corpus.clips("test")
    clip, other = clips[0], clips[1]
    true = landmarks.opening(clip.mouth_landmarks())
    right = landmarks.correlation(landmarks.opening(fitted(clip, clip.mouth_size)), true)
    wrong = rows.with_sound_of(clip, other)
    other_r = landmarks.correlation(landmarks.opening(fitted(wrong, clip.mouth_size)), true)
    assert right > 0.7 and right - other_r > 0.3


def test_linear_predictor_is_cached_and_equal(tiny_corpus):
    first = linear.fit_on(CheckedClips(tiny_corpus, "train"))
    files = list((tiny_corpus.directory / "fits").glob("linear-*.npz"))
    assert len(files) == 1
    stamp = files[0].stat().st_mtime_ns
    second = linear.fit_on(CheckedClips(tiny_corpus, "train"))
    assert files[0].stat().st_mtime_ns == stamp
    np.testing.assert_array_equal(first.weights, second.weights)
    assert first.penalty == second.penalty


def test_ten_minutes_at_most(tiny_corpus):
    chosen, seconds = linear.sample(CheckedClips(tiny_corpus, "train"), 3.3)
    assert seconds <= 3.3 and len(chosen) == len(set(chosen)) >= 2
    assert linear.sample(CheckedClips(tiny_corpus, "train"), 3.3)[0] == chosen


def test_unmeasured_frames_are_no_targets():
    clip = make_clip(frames=10)
    status = np.full(10, MEASURED, np.uint8)
    status[4] = MISSING
    targets = linear.mouth_targets(dataclasses.replace(clip, landmark_status=status))
    assert np.isnan(targets[4]).all() and np.isfinite(np.delete(targets, 4, 0)).all()
    centre = targets.reshape(10, 20, 2).mean(1)
    assert np.nanmax(np.abs(centre)) < 1e-6


def test_the_mean_mouth_of_another_clip_is_scaled_to_the_crop(tiny_corpus):
    clip = tiny_corpus.clips("train")[0]
    small = rows.mean_mouth_of(clip, clip.mouth_size // 2, 7)
    seen = clip.mouth_landmarks()[clip.landmark_status != MISSING][:, 48:]
    expected = (seen - seen.mean(axis=1, keepdims=True)).mean(axis=0) / 2
    assert small.shape == (7, 68, 2)
    np.testing.assert_allclose(small[3, 48:], expected, atol=1e-3)
