# SPDX-License-Identifier: Apache-2.0
"""Score: the table of evaluate for any system's videos, paired with the real ones by name.

The real videos are prepared like a corpus, in a temporary folder, so crops, scored frames and
reading of lips are those of evaluate. There is no wrong sound here: the system is not at hand.
"""

import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from lipjax.data.prepare import PrepareSettings, prepare
from lipjax.data.reading import ClipIndex, ClipSequence, Corpus, open_corpus
from lipjax.data.schema import MISSING, Clip
from lipjax.errors import ConfigError, CorpusError, LipjaxError, nearest
from lipjax.evaluate import evaluate
from lipjax.evaluation import rows
from lipjax.media import crops, faces
from lipjax.media.video import is_video_name, probe, read_video
from lipjax.metrics.results import Evaluation
from lipjax.report import write_report

_DOUBLE = "lipjax-double"
_SAME_PLACE = 0.1
"""Nose and eyes this near, in face widths, count as the same framing."""
_SHORT_BY = 3
"""Frames that a generated video may be shorter than the real one; the last is held."""


def score_folders(
    generated: Path,
    real: Path,
    *,
    out: Path | None = None,
    processes: int | None = None,
    show: Callable[[str], None] = print,
) -> Evaluation:
    """Scores generated videos against real ones and writes evaluation.json and report.html.

    Files are paired by their path in the folder without the ending. Where a generated face is
    framed as the real one (a dubbed video), both are cropped at the same place; elsewhere each
    is cropped by its own landmarks.

    Args:
        generated: folder of any system's videos.
        real: folder of the real videos, with sound.
        out: folder of the report; `generated`/score if not given.
        processes: worker processes; one per core if not given.
        show: gets progress lines and the table.

    Returns:
        The evaluation; the row of the generated videos is "model".

    Raises:
        ConfigError: no pair of names, or no generated video that can be scored; if some can,
            the others are listed.
        CorpusError: no real video can be used.
    """
    generated, real = Path(generated), Path(real)
    out = Path(out) if out is not None else generated / "score"
    made, true = _videos(generated, out), _videos(real, out)
    pairs = {name: made[name] for name in true if name in made}
    if not pairs:
        first = next(iter(made))
        raise ConfigError(
            f"no video of {generated} is named as one in {real}: {first!r}{nearest(first, true)}"
        )
    with tempfile.TemporaryDirectory(prefix="lipjax-score-") as folder:
        chosen = Path(folder) / "real"
        for name in pairs:
            _link(true[name], (chosen / true[name].relative_to(real)).parent)
        if len({true[name].parent for name in pairs}) == 1:
            # Prepare would hold out the end of a lone speaker; nobody is alone with a double.
            _link(true[next(iter(pairs))], chosen / _DOUBLE)
        settings = PrepareSettings(layout="folder")
        try:
            prepare(chosen, Path(folder) / "corpus", settings=settings, processes=processes)
        except CorpusError as error:
            told = str(error).partition("; see ")[0].replace(str(chosen), str(real))
            raise CorpusError(told.replace(f"{_DOUBLE}/", "")) from None
        corpus = _Whole.of(open_corpus(Path(folder) / "corpus"))
        failures: dict[str, str] = {}

        def speak(clip: Clip, identity: np.ndarray, sound: Clip) -> np.ndarray | None:
            if sound is not clip:
                return None
            name = Path(clip.source).with_suffix("").as_posix()
            try:
                return generated_crops(pairs[name], true[name], clip)
            except LipjaxError as error:
                failures[clip.id] = str(error)
                return None

        evaluation = evaluate(speak, corpus, _Whole.SPLIT, processes=processes, log=show)
    if rows.MODEL not in evaluation.table:
        raise ConfigError(next(iter(failures.values())))
    evaluation.facts["corpus"] = real.name
    evaluation.facts["not_scored"] = failures
    evaluation.facts["not_paired"] = sorted(set(made) ^ set(true))
    evaluation.save(out)
    show(evaluation.text())
    if evaluation.facts["not_paired"]:
        show(f"not paired: {', '.join(evaluation.facts['not_paired'])}")
    for name, reason in failures.items():
        show(f"not scored: {name}: {reason}")
    title = f"{generated.name} against {real.name}"
    show(f"report: {write_report(out / 'report.html', title=title, evaluation=evaluation)}")
    return evaluation


def _videos(folder: Path, out: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder")
    files = (file for file in sorted(folder.rglob("*")) if is_video_name(file.name))
    found = {
        file.relative_to(folder).with_suffix("").as_posix(): file
        for file in files
        if out not in file.parents
    }
    if not found:
        raise ConfigError(f"{folder}: no videos in it")
    return found


def _link(video: Path, folder: Path) -> None:
    """Links a video, and what lies beside it under its name: landmarks, spans."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (video.name, f"{video.stem}.landmarks.npy", f"{video.stem}.spans.json"):
        if video.with_name(name).exists():
            (folder / name).symlink_to(video.with_name(name).resolve())


class _Whole(Corpus):
    """A corpus seen as one split, without the double."""

    SPLIT = "real"

    @classmethod
    def of(cls, corpus: Corpus) -> "_Whole":
        """Joins all splits of a corpus."""
        return cls(corpus.directory, corpus.description)

    @property
    def splits(self) -> tuple[str, ...]:
        return (self.SPLIT,)

    def index(self, split: str) -> ClipIndex:
        return ClipIndex.from_rows([row for _, _, row in self._places()])

    def clips(self, split: str) -> ClipSequence:
        parts = {name: Corpus.clips(self, name) for name in self.description["splits"]}
        places = [(parts[name], position) for name, position, _ in self._places()]
        return _Joined(self.directory, places)

    def _known(self, split: str) -> str:
        return split

    def _places(self) -> list[tuple[str, int, dict[str, Any]]]:
        return [
            (name, position, row)
            for name in self.description["splits"]
            for position, row in enumerate(Corpus.index(self, name).rows())
            if not row["source"].startswith(f"{_DOUBLE}/")
        ]


class _Joined(ClipSequence):
    def __init__(self, directory: Path, places: list[tuple[ClipSequence, int]]):
        super().__init__(directory, _Whole.SPLIT, len(places))
        self._places = places

    def __getitem__(self, number):
        part, position = self._places[number]
        return part[position]


def generated_crops(made: Path, real: Path, clip: Clip) -> UInt8[np.ndarray, "T S S 3"]:
    """Cuts the mouth crops of a generated video that compete with those of a real clip.

    Args:
        made: the generated video.
        real: the real one, from which the clip comes.
        clip: the prepared clip.

    Raises:
        ConfigError: the generated video is too short.
        FaceNotFoundError: framed differently, and no face is found in it.
    """
    info, size = probe(real), clip.mouth_size
    first = round((float(clip.source_times[0]) - info.start) * clip.fps)
    stop = first + clip.num_frames
    transforms = _transforms(made, info.width, info.height, clip, first, stop)
    found = [
        crops.warp(frame.image, transform, size)
        for frame, transform in zip(
            itertools.islice(read_video(made, fps=clip.fps), first, stop), transforms, strict=False
        )
    ]
    missing = clip.num_frames - len(found)
    if missing > _SHORT_BY or not found:
        raise ConfigError(
            f"{made}: {missing} frames shorter than {real} at {clip.fps:g} frames per second; "
            "generate the whole clip, or shorten the real video"
        )
    return np.stack(found + found[-1:] * missing)


def _transforms(
    made: Path, width: int, height: int, clip: Clip, first: int, stop: int
) -> Float[np.ndarray, "T 2 3"]:
    """Transforms from pixels of the generated video to its mouth crops."""
    info = probe(made)
    scale = np.array([info.width / width, info.height / height])
    if abs(scale[0] / scale[1] - 1) < 0.01:
        # Pixels of the generated video to pixels of the real one, by their corners.
        resized = np.array(
            [
                [1 / scale[0], 0.0, (1 / scale[0] - 1) / 2],
                [0.0, 1 / scale[1], (1 / scale[1] - 1) / 2],
            ]
        )
        if _same_place(made, resized, clip, first):
            return np.stack([crops.compose(m, resized) for m in clip.mouth_from_source])
    frames = itertools.islice(read_video(made, fps=clip.fps), first, stop)
    track = faces.track(frames, faces.load_backend("auto", video=made))
    margin = clip.mouth_size / (_crop_scale(clip) * clip.mouth_width())
    return crops.mouth_transforms(
        track.landmarks, track.status, size=clip.mouth_size, margin=margin
    )


def _crop_scale(clip: Clip) -> float:
    """Crop pixels per source pixel."""
    return float(np.sqrt(np.abs(np.linalg.det(clip.mouth_from_source[0][:, :2]))))


def _same_place(made: Path, resized: np.ndarray, clip: Clip, first: int) -> bool:
    """Whether the face stands in the generated picture where it stands in the real one."""
    seen = np.flatnonzero(clip.landmark_status != MISSING)
    at = int(seen[len(seen) // 2])
    frame = next(itertools.islice(read_video(made, fps=clip.fps), first + at, None), None)
    if frame is None:
        return True  # too short; said where the crops are cut
    backend = faces.load_backend("auto", video=made)
    found = backend(frame.image, frame.source_index, None)
    if not found:
        return True  # dlib sees no face, as in drawings; the picture has the real one's size
    face = max(found, key=lambda f: f.box[2] - f.box[0])
    points = crops.apply(resized, face.landmarks.astype(np.float64))
    stable, true = list(crops.STABLE), clip.landmarks[at].astype(np.float64)
    apart = np.linalg.norm(points[stable] - true[stable], axis=1).mean()
    return bool(apart < _SAME_PLACE * np.ptp(true[:, 0]))
