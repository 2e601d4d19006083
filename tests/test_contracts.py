# SPDX-License-Identifier: Apache-2.0
"""Two toy systems go through the contracts of tasks and speakers, and learn something."""

import jax
import jax.numpy as jnp
import numpy as np
from generate_tools import SOUND, landmarks, make_video, make_wav, needs, tone
from PIL import Image
from toy_systems import (
    FRAMES,
    SIZE,
    ListenTask,
    PaintSpeaker,
    PaintTask,
    RememberSpeaker,
    RememberTask,
)

from lipjax.generate import generate
from lipjax.media import crops
from lipjax.media.audio import log_mel, to_float
from lipjax.media.video import read_video
from lipjax.speakers.chunks import speak
from lipjax.speakers.contract import Speaker
from lipjax.tasks.contract import Task

BATCH, CHUNKS = 16, 10


def train(task, batches, given, steps):
    """The loop's part of the contract; returns state, first and last error."""
    assert isinstance(task, Task)
    state = jax.jit(task.init)(jax.random.key(0), batches[0], given)
    step, evaluate = jax.jit(task.train_step), jax.jit(task.eval_step)

    def error(state):
        total = []
        for batch in batches:
            total.append(np.mean(evaluate(state, batch)[task.best_metric]))
            # Carry moves on as in training; parameters do not.
            state = state.replace(carry=step(state, batch)[0].carry)
        return float(np.mean(total))

    first = error(state)
    for number in range(steps):
        state, _ = step(state, batches[number % len(batches)])
    assert int(state.skipped) == 0 and int(state.step) == steps
    return state, first, error(state)


def remembered(seed: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Sound, and the brightness of a mouth that remembers it for many frames."""
    rng = np.random.default_rng(seed)
    sound = rng.normal(size=(BATCH, 4 * frames, SOUND.bands)).astype(np.float32)
    heard = 0.06 * sound.reshape(BATCH, frames, 4 * SOUND.bands).sum(-1)
    level, levels = np.zeros(BATCH), []
    for t in range(frames):
        level = 0.8 * level + 0.2 * heard[:, t]
        levels.append(level)
    return sound, np.stack(levels, 1)


def chunked(sound, levels):
    """Consecutive batches hold consecutive chunks of the same clips, row by row."""
    video = np.clip(np.rint((levels + 1) * 127.5), 0, 255).astype(np.uint8)
    video = np.broadcast_to(video[..., None, None, None], (*video.shape, SIZE, SIZE, 3))
    return [
        {
            "video": video[:, t : t + FRAMES],
            "log_mel": sound[:, 4 * t : 4 * (t + FRAMES)],
            "start": np.full(BATCH, t == 0),
        }
        for t in range(0, levels.shape[1], FRAMES)
    ]


def test_a_recurrent_system_in_two_stages(tmp_path):
    sound, levels = remembered(0, FRAMES * CHUNKS)
    batches = chunked(sound, levels)
    listen, first, heard = train(ListenTask(), batches, {}, 200)
    assert heard < 0.75 * first
    given = ListenTask().speaker_params(listen)
    remember, first, error = train(RememberTask(), batches, given, 400)
    assert error < 0.2 * heard and error < 0.5 * first
    np.testing.assert_array_equal(remember.given["ear"]["weights"], given["ear"]["weights"])

    # Without its carry it is worse: what it learnt does reach across chunks.
    forgetful = [{**batch, "start": np.ones(BATCH, bool)} for batch in batches]
    evaluate = jax.jit(RememberTask().eval_step)
    without = np.mean([evaluate(remember, batch)["error"] for batch in forgetful])
    assert without > 2 * error

    # It speaks sentences that it has not heard, of a length that is no multiple of a chunk.
    speaker = RememberSpeaker(needs(mouth_size=SIZE, chunk=FRAMES, target="picture"))
    assert isinstance(speaker, Speaker)
    params = RememberTask().speaker_params(remember)
    sound, levels = remembered(1, 61)
    face = np.zeros((BATCH, 1, SIZE, SIZE, 3), np.float32)
    made = speak(speaker, params, face, sound).mean(axis=(2, 3, 4))
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(made, levels, strict=True)]
    assert made.shape == (BATCH, 61) and min(r) > 0.9 and np.mean(r) > 0.95

    Image.fromarray(np.full((64, 64, 3), 128, np.uint8)).save(tmp_path / "mouth.png")
    talk = generate(
        speaker,
        params,
        face=tmp_path / "mouth.png",
        audio=make_wav(tmp_path, 1.0),
        out=tmp_path / "talk.mp4",
        face_kind="mouth",
    )
    assert talk.frames == 25


def person(seconds: float, seed: int) -> dict[str, np.ndarray]:
    """One person's crops: a background that moves, lips that are bright when it is loud."""
    rng = np.random.default_rng(seed)
    starts = np.sort(rng.uniform(0, seconds - 0.3, 3))
    feature = log_mel(to_float(tone(seconds, [(t, t + 0.2) for t in starts]).samples), SOUND)
    frames = len(feature) // 4
    loud = feature[: 4 * frames].reshape(frames, -1).mean(-1)
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    shift = 0.1 * np.arange(frames)[:, None, None]
    video = np.broadcast_to(np.sin(3 * x + shift)[..., None] * 0.3, (frames, SIZE, SIZE, 3)).copy()
    lips = x**2 + y**2 < 0.5
    video[:, lips] = loud[:, None, None] * np.array([1.0, 0.3, 0.3]) * 0.5
    video = np.rint((np.clip(video, -1, 1) + 1) * 127.5).astype(np.uint8)
    return {"video": video[None], "log_mel": feature[None, : 4 * frames]}


def test_a_coordinate_network_of_one_person(tmp_path):
    whole = person(4.8, seed=0)
    windows = [
        {
            "video": whole["video"][:, t : t + FRAMES],
            "log_mel": whole["log_mel"][:, 4 * t : 4 * (t + FRAMES)],
        }
        for t in range(0, 120, FRAMES)
    ]
    state, first, error = train(PaintTask(), windows, {}, 600)
    assert error < 0.1 * first
    params = PaintTask().speaker_params(state)
    speaker = PaintSpeaker(needs(mouth_size=SIZE, chunk=7, target="person"))
    assert isinstance(speaker, Speaker)

    # Unheard sound: nearer to the truth than any one still mouth, the rest as it was.
    test = person(2.0, seed=1)
    real = test["video"].astype(np.float32) / 127.5 - 1
    video = iter(np.moveaxis(real, 1, 0))
    made = speak(speaker, params, real[:, :1], test["log_mel"], target_frames=video)
    assert np.mean((made - real) ** 2) < 0.3 * np.mean(
        (real.mean(axis=1, keepdims=True) - real) ** 2
    )
    np.testing.assert_allclose(made[:, :, 0], real[:, :, 0], atol=1e-5)

    # And into a video: its mouth becomes bright when it is loud, in the moving face.
    face = make_video(tmp_path, 20)
    audio = make_wav(tmp_path, 0.8, loud=[(0.4, 0.6)])
    talk = generate(speaker, params, face=face, audio=audio, out=tmp_path / "talk.mp4")
    made = [frame.image.astype(float) for frame in read_video(talk.path)]
    red = []
    for number, frame in enumerate(made):
        x, y = landmarks(60 + 3.0 * number)[48:68].mean(axis=0).round().astype(int)
        red.append(frame[y - 4 : y + 5, x - 4 : x + 5, 0].mean())
    assert min(red[11:14]) > max(red[2:8]) + 15
    assert crops.MOUTH == slice(48, 68) and jnp.isfinite(jnp.asarray(red)).all()
