# SPDX-License-Identifier: Apache-2.0
"""The perceptual network's reconstructions of whole clips, beside two that need no network."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from lipjax import build
from lipjax.data.views import ClipViews
from lipjax.media import draw
from lipjax.media.image import to_pixels
from lipjax.metrics import image
from lipjax.stage_evaluation.contract import Measured, in_blocks
from lipjax.stage_evaluation.result import NETWORK, Column
from lipjax.tasks.players import to_unit

MEAN_FRAME = "mean frame of the clip"
_SHOWN = 12


class PerceptualFamily:
    """A trained perceptual autoencoder, measured by what it makes of frames.

    Args:
        description: `model.json` of its run.
        loaded: its networks, by `load_params`.
    """

    columns: Mapping[str, Column] = {
        "psnr": Column("PSNR (dB)", 2),
        "ssim": Column("SSIM", 4),
        "absolute_error": Column("absolute error (grey levels)", 2),
    }
    unit = "frames"
    derived: tuple[str, ...] = ()
    caption = f"{_SHOWN} frames of each clip, evenly spread, above their reconstructions"

    def __init__(self, description: Mapping[str, Any], loaded: Mapping[str, Any]):
        network = build.perceptual_of(description["network"])
        variables = {
            "params": loaded["params"]["perceptual"],
            "batch_stats": loaded["stats"]["perceptual"],
        }
        size = description["mouth_size"]
        self._small = size // 2 ** (len(network.widths) - 1)
        self.bicubic = f"bicubic, {size} to {self._small} px and back"
        self.notes: tuple[str, ...] = (
            "PSNR and SSIM (Wang, 11x11 Gaussian) on RGB, mean absolute error in grey levels (0 "
            "to 255), per frame against the frame itself, reconstructions rounded to 8 bits.",
            f"'{self.bicubic}' has as many places as the network's feature, but three values in "
            f"each where that has {network.widths[-1]}.",
        )

        @jax.jit
        def rebuild(variables: Any, frames: Any) -> dict[str, Any]:
            return {"made": network.apply(variables, to_unit(frames), train=False)}

        self._rebuild = partial(rebuild, variables)

    def measure(self, views: ClipViews) -> Measured:
        """Measures all frames of a clip."""
        video = views.stream("mouth")
        mean = np.round(video.mean(axis=0, dtype=np.float64)).astype(np.uint8)
        made = {
            MEAN_FRAME: np.broadcast_to(mean, video.shape),
            self.bicubic: np.stack([_round_trip(frame, self._small) for frame in video]),
            NETWORK: to_pixels(in_blocks(self._rebuild, video)["made"]),
        }
        rows = {}
        for row, frames in made.items():
            values = in_blocks(_likeness, frames, video)
            values["absolute_error"] = np.abs(frames.astype(np.int16) - video)
            rows[row] = {
                name: float(value.mean(dtype=np.float64)) for name, value in values.items()
            }
        return Measured(len(video), rows, {"frames": video, **made})

    def sheet(self, clips: Sequence[Measured]) -> UInt8[np.ndarray, "H W 3"]:
        """Draws some frames of some clips above what became of them."""
        rows = {}
        for number, clip in enumerate(clips, start=1):
            count = min(_SHOWN, clip.count)
            chosen = np.linspace(0, clip.count - 1, count).round().astype(int)
            for name in ("frames", NETWORK, self.bicubic):
                rows[f"{number} {name}"] = clip.pictures[name][chosen]
        return draw.contact_sheet(rows)


@jax.jit
def _likeness(first: Any, second: Any) -> dict[str, Any]:
    return {"psnr": image.psnr(first, second), "ssim": image.ssim(first, second)}


def _round_trip(frame: UInt8[np.ndarray, "S S 3"], small: int) -> UInt8[np.ndarray, "S S 3"]:
    """A picture after it was small."""
    size, picture = frame.shape[0], Image.fromarray(frame)
    reduced = picture.resize((small, small), Image.Resampling.BICUBIC)
    return np.asarray(reduced.resize((size, size), Image.Resampling.BICUBIC))
