# SPDX-License-Identifier: Apache-2.0
"""Small faces, videos and speakers for the tests of generate."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from lipjax.media.audio import LogMel, Sound, write_wav
from lipjax.media.video import write_video
from lipjax.speakers.contract import Needs

SOUND = LogMel(bands=8)
WIDTH, HEIGHT = 192, 144


def needs(**fields) -> Needs:
    return Needs(**{"log_mel": SOUND, "mouth_size": 32, "chunk": 8, **fields})


@dataclasses.dataclass(frozen=True)
class LoudSpeaker:
    """Paints the whole mouth as bright as the sound is loud."""

    needs: Needs

    def begin(self, params, target):
        return target[:, 0]

    def step(self, params, carry, sound, target_chunk):
        level = sound.reshape(len(sound), -1, 4 * SOUND.bands).max(-1)
        bright = jnp.clip(level, -1, 1)[:, :, None, None, None]
        return jnp.broadcast_to(bright, (*level.shape, *carry.shape[1:])), carry


@dataclasses.dataclass(frozen=True)
class EchoSpeaker:
    """Gives back the target's own mouth, in the frame it was given for."""

    needs: Needs

    def begin(self, params, target):
        return ()

    def step(self, params, carry, sound, target_chunk):
        return target_chunk, carry


@dataclasses.dataclass(frozen=True)
class UnusedSpeaker:
    """Fails if anybody lets it begin."""

    needs: Needs

    def begin(self, params, target):
        raise AssertionError("the network ran")

    def step(self, params, carry, sound, target_chunk):
        raise AssertionError("the network ran")


def landmarks(x: float = 96.0, y: float = 60.0) -> np.ndarray:
    """68 points of a face of 70 px, the mouth 24 px wide, centred near (x, y + 26)."""
    turn = np.linspace(0, np.pi, 17)
    jaw = np.stack([-35 * np.cos(turn), 50 * np.sin(turn)], 1)
    brows = np.stack([np.r_[-26:-5:5j, 6:26:5j], np.full(10, -16.0)], 1)
    bridge = np.stack([np.zeros(4), np.linspace(-8, 10, 4)], 1)
    nostrils = np.stack([np.linspace(-7, 7, 5), np.full(5, 14.0)], 1)
    eye = np.array([(-6, 0), (-3, -3), (3, -3), (6, 0), (3, 3), (-3, 3)], float)
    outer = np.linspace(np.pi, -np.pi, 13)[:12]
    inner = np.linspace(np.pi, -np.pi, 9)[:8]
    lips = np.stack([12 * np.cos(outer), 26 - 6 * np.sin(outer)], 1)
    mouth = np.stack([9 * np.cos(inner), 26 - 2 * np.sin(inner)], 1)
    parts = [jaw, brows, bridge, nostrils, eye + [-16, -8], eye + [16, -8], lips, mouth]
    return (np.concatenate(parts) + [x, y]).astype(np.float32)


def picture(number: int = 0, x: float = 96.0) -> np.ndarray:
    """A smooth scene in which the face is a pattern at x; the top left corner tells `number`."""
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    waves = [np.sin((columns - x) / 9 + k) + np.cos(rows / (7 + k)) for k in range(3)]
    image = np.clip(64 + 16 * np.stack(waves, -1), 0, 255).astype(np.uint8)
    image[:24, :24] = 20 + 8 * number
    return image


def number_of(frame: np.ndarray) -> int:
    """The number in the corner of a decoded picture."""
    return round((float(frame[4:20, 4:20].mean()) - 20) / 8)


def make_video(folder: Path, frames: int, *, missing=(), fps: float = 25.0) -> Path:
    """A video whose face moves to the right, with a landmark file; `missing` lack landmarks."""
    path = folder / "video.mp4"
    places = [60 + 3.0 * n for n in range(frames)]
    pictures = (picture(n, x) for n, x in enumerate(places))
    sound = tone(frames / fps, [])
    write_video(path, pictures, fps=fps, sound=sound, crf=1)
    points = np.stack([landmarks(x) for x in places])
    points[list(missing)] = np.nan
    np.save(folder / "video.landmarks.npy", points)
    return path


def tone(seconds: float, loud: list[tuple[float, float]], rate: int = 16_000) -> Sound:
    """Silence with noise in the given spans of time."""
    samples = np.zeros(round(seconds * rate), np.int16)
    rng = np.random.default_rng(0)
    for t0, t1 in loud:
        span = slice(round(t0 * rate), round(t1 * rate))
        samples[span] = 6_000 * rng.normal(size=samples[span].shape).clip(-3, 3)
    return Sound(samples, rate)


def make_wav(folder: Path, seconds: float, loud=((0.2, 0.4), (0.8, 1.0)), rate=16_000) -> Path:
    path = folder / f"speech_{seconds}_{rate}.wav"
    write_wav(path, tone(seconds, list(loud), rate))
    return path
