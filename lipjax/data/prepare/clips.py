# SPDX-License-Identifier: Apache-2.0
"""From one video to its clips: decode, track, cut, align, crop; one staged file comes out."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from lipjax.data.corpora import Source
from lipjax.data.prepare import facts as facts_of
from lipjax.data.prepare import lag, segments, staging
from lipjax.data.prepare.settings import PrepareSettings
from lipjax.data.schema import MISSING, Clip, Span
from lipjax.errors import MediaError
from lipjax.media import audio, crops, faces, video

SILENCE_DB = -60.0
"""A clip whose speech is below this level of full scale counts as silent."""
_AROUND = 0.5  # seconds of real sound kept on either side of a clip
_NO_SOUND = 0.1  # seconds by which sound may end before (begin after) the picture
_JPEG_QUALITY = 92
_BEAT_EVERY = 25  # frames

Beat = Callable[[int], None]
"""Called with the number of frames just done, so that a hanging video is noticed."""


def stage(
    source: Source, beat: Beat, *, root: Path, settings: PrepareSettings, folder: Path
) -> dict:
    """Prepares one video and writes its staged file, also if nothing in it can be used.

    Args:
        source: the video.
        beat: sign of life.
        root: the folder that `source.path` is relative to.
        settings: of the corpus.
        folder: of the staged files.

    Returns:
        The facts about the source; `reason` is "" if it gave at least one clip.
    """
    path = Path(root) / source.path
    facts = facts_of.blank(source)
    try:
        facts |= facts_of.fingerprint(path)
    except OSError as error:
        return {**facts, "reason": "unreadable", "detail": str(error)}
    with staging.staging(staging.staged_path(folder, source.path)) as (writer, finish):
        try:
            facts["sha256"] = facts_of.digest(path, beat)
            for clip, aside in _clips(path, source, settings, facts, beat):
                writer.add(clip, aside)
                facts["kept_seconds"] += clip.num_frames / clip.fps
                facts["kept_clips"] += 1
            if not facts["kept_clips"] and not facts["reason"]:
                facts["reason"] = "silence" if facts["silent_clips"] else "too short"
        except (MediaError, OSError) as error:
            facts |= {"reason": facts["reason"] or "unreadable", "detail": str(error)}
        finish(facts)
    return facts


def _clips(
    path: Path, source: Source, settings: PrepareSettings, facts: dict[str, Any], beat: Beat
) -> Iterator[tuple[Clip, dict[str, float]]]:
    """Makes clips in order of time, with what packing asks beside them; fills in the facts."""
    info = video.probe(path, max_pixels=settings.max_pixels, max_seconds=settings.max_video_seconds)
    facts |= {"fps": info.fps, "width": info.width, "height": info.height}
    facts |= {"duration": info.duration}
    if not info.has_sound:
        facts["reason"] = "no sound"
        return
    facts["reason"] = "no sound"  # stands if reading it fails
    sound = audio.read_sound(path, max_seconds=settings.max_video_seconds)
    facts["reason"] = ""
    facts |= {"sound_rate": sound.rate, "sound_seconds": sound.duration}
    facts["sound_level"] = _level(audio.to_float(sound.samples), sound.rate)
    facts["sound_starts"] = sound.start - info.start

    end = max((stop for _, stop in source.keep), default=math.inf)
    facts["reason"] = "no picture"
    backend = faces.load_backend(settings.landmarks, video=path)
    track = faces.track(_frames(path, settings, end * settings.fps, beat), backend)
    facts["reason"] = ""
    total = len(track.status)
    heard = (sound.start - info.start - _NO_SOUND, sound.end - info.start + _NO_SOUND)
    usable = segments.within(source.keep, total, settings.fps)
    audible = segments.within((heard,), total, settings.fps)
    facts_of.count(facts, track, usable, audible, settings.fps)
    if (track.status == MISSING).all():
        facts["reason"] = "no face"
        return
    if not audible.any():
        facts["reason"] = "no sound"
        return
    plan = segments.plan(
        track.status,
        usable & audible,
        track.cuts,
        fps=settings.fps,
        max_seconds=settings.max_seconds,
        min_frames=settings.min_frames,
    )
    if not plan:
        return
    again = enumerate(_frames(path, settings, float(plan[-1].stop), beat))
    for number, segment in enumerate(plan):
        name = source.id if len(plan) == 1 else f"{source.id}-{number:03d}"
        pictures = (frame for position, frame in again if position >= segment.start)
        clip, margin = _clip(name, source, settings, track, segment, pictures, sound, info.start)
        clip = dataclasses.replace(
            clip,
            source_sha256=facts["sha256"],
            sentence=source.sentence if len(plan) == 1 else _words(clip.spans),
        )
        if clip.sound_level < SILENCE_DB:
            facts["silent_clips"] += 1
        else:
            seconds = clip.num_frames / clip.fps
            yield (
                clip,
                {
                    "start": segment.start / settings.fps,
                    "seconds": seconds,
                    "lag_margin": margin,
                },
            )


def _frames(
    path: Path, settings: PrepareSettings, stop: float, beat: Beat
) -> Iterator[video.Frame]:
    """Decodes the frames before number `stop`."""
    frames = video.read_video(
        path,
        fps=settings.fps,
        max_pixels=settings.max_pixels,
        max_seconds=settings.max_video_seconds,
    )
    for number, frame in enumerate(frames):
        if number >= stop:
            return
        if number % _BEAT_EVERY == 0:
            beat(_BEAT_EVERY)
        yield frame


def _clip(
    name: str,
    source: Source,
    settings: PrepareSettings,
    track: faces.Track,
    segment: segments.Segment,
    pictures: Iterator[video.Frame],
    sound: audio.Sound,
    video_start: float,
) -> tuple[Clip, float]:
    """Makes the clip of one segment, and the margin of its lag; takes its frames of `pictures`."""
    import cv2

    chosen = slice(segment.start, segment.stop)
    landmarks, status = track.landmarks[chosen], track.status[chosen]
    size = settings.mouth_size
    to_mouth = crops.mouth_transforms(landmarks, status, size=size, margin=settings.margin)
    to_frames, box = crops.fixed_box(landmarks, status, track.width, track.height)
    mouth = np.empty((len(status), size, size, 3), np.uint8)
    jpegs: list[bytes] = []
    for t in range(len(status)):
        image = next(pictures).image
        mouth[t] = crops.warp(image, to_mouth[t], size)
        small = crops.warp(image, to_frames, box)
        options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        jpegs.append(cv2.imencode(".jpg", small[..., ::-1], options)[1].tobytes())
    begin, end = segment.start / settings.fps, segment.stop / settings.fps
    shift = sound.start - video_start - begin  # of the sound's sample 0 on the clip's clock
    first = min(max(0, math.ceil((-_AROUND - shift) * sound.rate)), len(sound.samples))
    last = max(first, math.floor((end - begin + _AROUND - shift) * sound.rate))
    samples = sound.samples[first:last].copy()
    start = shift + first / sound.rate
    spans = tuple(
        Span(span.kind, span.text, span.start - begin, span.end - begin)
        for span in source.spans
        if span.start < end and span.end > begin
    )
    opening = lag.lip_opening(landmarks, status)
    found = lag.estimate(opening, samples, sound.rate, start, fps=settings.fps)
    spoken = samples[max(0, round(-start * sound.rate)) :][: round((end - begin) * sound.rate)]
    clip = Clip(
        id=name,
        speaker=source.speaker,
        sentence=source.sentence,
        source=source.path,
        source_sha256="",
        fps=float(settings.fps),
        source_frames=track.source_index[chosen],
        source_times=track.source_time[chosen],
        mouth=mouth,
        mouth_from_source=to_mouth,
        frames=np.frombuffer(b"".join(jpegs), np.uint8),
        frame_offsets=np.cumsum([0, *map(len, jpegs)]).astype(np.int64),
        frames_from_source=to_frames,
        landmarks=landmarks,
        landmark_status=status,
        sound=samples,
        sound_rate=sound.rate,
        sound_start=float(start),
        sound_level=_level(audio.to_float(spoken), sound.rate),
        spans=spans,
        lag=found.lag,
        lag_correlation=found.correlation,
    )
    return clip, found.margin


def _level(samples: Float[np.ndarray, "n"], rate: int) -> float:
    return audio.speech_level(samples, rate) if len(samples) else -math.inf


def _words(spans: tuple[Span, ...]) -> str:
    """What is said in a part of a longer video, as far as the spans tell."""
    return " ".join(span.text for span in spans if span.kind == "word")
