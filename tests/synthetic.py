# SPDX-License-Identifier: Apache-2.0
"""Made-up clips and a tiny corpus of them, for tests that need something to read."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from lipjax.data import schema
from lipjax.data.prepare.pack import CorpusWriter
from lipjax.data.reading import Corpus, open_corpus

FPS, RATE, MARGIN = 25.0, 16_000, 0.5


def face_points(opening: np.ndarray, *, scale: float = 40.0, centre=(80.0, 70.0)) -> np.ndarray:
    """Returns 68 points of a schematic face for each lip opening.

    Args:
        opening: inner-lip distance [T] in units of half the mouth width, 0 .. 1.
        scale: half the width of the face in pixels.
        centre: tip of the nose, (x, y) in pixels.

    Returns:
        Landmarks, float32 [T, 68, 2], (x, y) in pixels.
    """
    turn = np.linspace(0.0, np.pi, 17)
    points = np.zeros((len(opening), 68, 2))
    points[:, 0:17, 0], points[:, 0:17, 1] = -np.cos(turn), -0.4 + 1.5 * np.sin(turn)
    points[:, 17:22] = np.stack([np.linspace(-0.8, -0.2, 5), np.full(5, -0.8)], -1)
    points[:, 22:27] = np.stack([np.linspace(0.2, 0.8, 5), np.full(5, -0.8)], -1)
    points[:, 27:31] = np.stack([np.zeros(4), np.linspace(-0.5, 0.0, 4)], -1)
    points[:, 31:36] = np.stack([np.linspace(-0.2, 0.2, 5), np.full(5, 0.1)], -1)
    ring = np.linspace(0.0, 2 * np.pi, 7)[:6]
    for first, x in ((36, -0.5), (42, 0.5)):
        points[:, first : first + 6, 0] = x - 0.15 * np.cos(ring)
        points[:, first : first + 6, 1] = -0.5 - 0.07 * np.sin(ring)
    half = 0.2 * np.asarray(opening, float)[:, None]
    outer, inner = np.linspace(0, 2 * np.pi, 13)[:12], np.linspace(0, 2 * np.pi, 9)[:8]
    points[:, 48:60, 0] = -0.4 * np.cos(outer)
    points[:, 48:60, 1] = 0.55 - (half + 0.1) * np.sin(outer)
    points[:, 60:68, 0] = -0.3 * np.cos(inner)
    points[:, 60:68, 1] = 0.55 - half * np.sin(inner)
    return (points * scale + np.asarray(centre)).astype(np.float32)


def make_clip(
    name: str = "s1-a",
    *,
    speaker: str = "s1",
    sentence: str = "bin blue",
    frames: int = 40,
    mouth_size: int = 32,
    seed: int = 0,
) -> schema.Clip:
    """Returns a valid clip whose mouth opens with the loudness of its sound."""
    rng = np.random.default_rng(seed)
    knots = rng.uniform(0.0, 1.0, frames // 4 + 3)
    opening = np.interp(np.arange(frames) / 4.0, np.arange(len(knots)), knots)
    landmarks = face_points(opening)
    ys, xs = np.mgrid[0:mouth_size, 0:mouth_size] / (mouth_size - 1) * 2 - 1
    lips = xs**2 + (ys[None] / (0.15 + 0.5 * opening[:, None, None])) ** 2 < 0.7
    skin = rng.integers(120, 220, 3)
    mouth = np.where(lips[..., None], (90, 20, 30), skin).astype(np.uint8)
    crop_scale = mouth_size / (1.5 * 32.0)
    to_mouth = np.array([[crop_scale, 0, 0], [0, crop_scale, 0]])
    to_mouth[:, 2] = (mouth_size - 1) / 2 - crop_scale * np.array([80.0, 92.0])
    jpegs = []
    for t in range(frames):
        picture = np.full((140, 160, 3), skin, np.uint8)
        y = int(92 + 8 * opening[t])
        picture[92 - int(8 * opening[t]) : y + 1, 66:94] = (90, 20, 30)
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=90)
        jpegs.append(buffer.getvalue())
    samples = int(RATE * (frames / FPS + 2 * MARGIN))
    times = np.arange(samples) / RATE - MARGIN
    envelope = np.interp(times, (np.arange(frames) + 0.5) / FPS, opening)
    sound = (rng.normal(size=samples) * envelope * 4000).clip(-32768, 32767).astype(np.int16)
    return schema.Clip(
        id=name,
        speaker=speaker,
        sentence=sentence,
        source=f"{speaker}/{name}.mp4",
        source_sha256="0" * 64,
        fps=FPS,
        source_frames=np.arange(frames, dtype=np.int32),
        source_times=np.arange(frames) / FPS,
        mouth=mouth,
        mouth_from_source=np.repeat(to_mouth[None], frames, 0),
        frames=np.frombuffer(b"".join(jpegs), np.uint8),
        frame_offsets=np.cumsum([0, *map(len, jpegs)]).astype(np.int64),
        frames_from_source=np.array([[1.0, 0, 0], [0, 1.0, 0]]),
        landmarks=landmarks,
        landmark_status=np.full(frames, schema.MEASURED, np.uint8),
        sound=sound,
        sound_rate=RATE,
        sound_start=-MARGIN,
        sound_level=-20.0,
        spans=(schema.Span("word", "bin", 0.1, 0.4), schema.Span("word", "blue", 0.5, 0.9)),
        lag=0.5,
        lag_correlation=0.6,
    )


def make_corpus(directory: Path, *, frames: int = 40, mouth_size: int = 32) -> Corpus:
    """Writes a corpus of made-up clips: two speakers train and val, one unseen in test.

    Args:
        directory: where; made if missing.
        frames: length of most clips; one train clip is half as long.
        mouth_size: side of the mouth crops in pixels.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    writer = CorpusWriter(directory)
    seed = 0
    plan = {"train": (("s1", "abc"), ("s2", "abc")), "val": (("s1", "d"), ("s2", "d"))}
    for split, members in {**plan, "test": (("s3", "ad"),)}.items():
        for speaker, sentences in members:
            for sentence in sentences:
                clip = make_clip(
                    f"{speaker}-{sentence}",
                    speaker=speaker,
                    sentence=f"sentence {sentence}",
                    frames=frames // 2 if (speaker, sentence) == ("s2", "c") else frames,
                    mouth_size=mouth_size,
                    seed=seed,
                )
                writer.add(split, clip)
                seed += 1
    writer.close({"settings": {"fps": FPS, "mouth_size": mouth_size, "margin": 1.5}})
    return open_corpus(directory)
