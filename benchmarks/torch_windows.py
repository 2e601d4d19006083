# SPDX-License-Identifier: Apache-2.0
"""The opponent of `windows.py`: a PyTorch DataLoader on the released authors' file layout.

Their trainers read one JPEG of the lips per frame and one npy of log-mel per frame. What reads
them here is written as one would today: libjpeg-turbo by OpenCV, no thread pools in workers,
persistent workers that prefetch. An example is what their trainer takes: a picture of the same
clip, 16 frames, their sound, and another clip's sound.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

FRAMES, SIZE, COLUMNS = 16, 64, 4
AHEAD = 4  # batches that a worker makes ahead
_LIPS = 1.3 / 1.5
"""The authors cut 1.3 mouth widths, our corpora 1.5."""


def write_layout(directory: Path, clips: Sequence, log_mels: Sequence[np.ndarray]) -> list[int]:
    """Writes clips as the authors keep them, a folder each, and returns their numbers of frames.

    Lip crops get the size that they have in the source video, as with the authors, so decoding
    costs no more than it did with them.

    Args:
        directory: to fill.
        clips: prepared clips.
        log_mels: of each clip, [4 columns per frame, bands].
    """
    import cv2

    lengths = []
    for number, (clip, log_mel) in enumerate(zip(clips, log_mels, strict=True)):
        folder = directory / f"{number:05d}"
        folder.mkdir(parents=True)
        side = clip.mouth_size
        scale = float(np.median(np.linalg.norm(clip.mouth_from_source[:, :, 0], axis=1)))
        out = max(8, round(side * _LIPS / scale))
        edge = round(side * (1 - _LIPS) / 2)
        for t, picture in enumerate(clip.mouth):
            lips = picture[edge : side - edge, edge : side - edge, ::-1]
            lips = cv2.resize(lips, (out, out), interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(folder / f"{t:03d}.jpg"), lips)
            np.save(folder / f"{t:03d}.npy", log_mel[COLUMNS * t : COLUMNS * (t + 1)])
        lengths.append(clip.num_frames)
    return lengths


@dataclasses.dataclass
class LayoutDataset:
    """Windows of the layout; a map-style dataset, every start of every clip once."""

    directory: Path
    lengths: list[int]

    def __post_init__(self) -> None:
        self.places = [(c, s) for c, n in enumerate(self.lengths) for s in range(n - FRAMES + 1)]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        clip, start = self.places[index]
        rng = np.random.default_rng(index)
        other = (clip + int(rng.integers(1, len(self.lengths)))) % len(self.lengths)
        elsewhere = int(rng.integers(self.lengths[other] - FRAMES + 1))
        picture = int(rng.integers(self.lengths[clip]))
        return {
            "video": np.stack([self._picture(clip, start + t) for t in range(FRAMES)]),
            "identity": self._picture(clip, picture)[None],
            "log_mel": self._sound(clip, start),
            "wrong_log_mel": self._sound(other, elsewhere),
        }

    def _picture(self, clip: int, frame: int) -> np.ndarray:
        import cv2

        picture = cv2.imread(f"{self.directory}/{clip:05d}/{frame:03d}.jpg")
        picture = cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)

    def _sound(self, clip: int, start: int) -> np.ndarray:
        folder = f"{self.directory}/{clip:05d}"
        return np.concatenate(
            [np.load(f"{folder}/{start + t:03d}.npy", allow_pickle=False) for t in range(FRAMES)]
        )


def one_thread(_: int = 0) -> None:
    """Leaves a process to its one thread, as workers beside each other want it."""
    import cv2

    cv2.setNumThreads(0)


class Loader:
    """Endless batches of a shuffling DataLoader.

    Args:
        dataset: map-style.
        batch_size: examples of a batch.
        workers: processes; 0 loads in this one.
    """

    def __init__(self, dataset: LayoutDataset, *, batch_size: int, workers: int):
        import torch

        torch.set_num_threads(1)
        one_thread()
        ahead = {"persistent_workers": True, "prefetch_factor": AHEAD} if workers else {}
        self._loader = torch.utils.data.DataLoader(
            dataset,
            batch_size=batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            worker_init_fn=one_thread,
            **ahead,
        )
        self._batches = iter(self._loader)

    @property
    def processes(self) -> list[int]:
        """Numbers of the worker processes."""
        return [worker.pid for worker in getattr(self._batches, "_workers", [])]

    def settle(self) -> None:
        """Brings workers to their pace: takes what they made ahead while others were measured."""
        for _ in range(2 * AHEAD if self.processes else 0):
            next(self)

    def __next__(self) -> dict:
        try:
            return next(self._batches)
        except StopIteration:
            self._batches = iter(self._loader)
            return next(self._batches)
