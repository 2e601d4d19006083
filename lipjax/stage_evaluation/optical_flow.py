# SPDX-License-Identifier: Apache-2.0
"""The flow network on whole clips, beside no motion at all and beside what it was taught."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from lipjax import build, previews
from lipjax.data.views import ClipViews
from lipjax.losses.optical_flow import endpoint_error, warping_error
from lipjax.nn.warping import average_pool, resize_flow
from lipjax.stage_evaluation.contract import Measured, in_blocks
from lipjax.stage_evaluation.result import NETWORK, Column
from lipjax.tasks.players import to_unit

NO_MOTION = "no motion"
FARNEBACK = "Farneback"
ON_GRID = "Farneback on the network's grid"
_SHOWN = 12


class FlowFamily:
    """A trained flow network, measured against the corpus's derived flow.

    Args:
        description: `model.json` of its run.
        loaded: its networks, by `load_params`.
    """

    columns: Mapping[str, Column] = {
        "endpoint_error": Column("end-point error (px)", 3),
        "warping_error": Column("warping error (grey levels)", 3),
    }
    unit = "pairs of frames"
    derived: tuple[str, ...] = ("flow",)
    caption = (
        f"the {_SHOWN} pairs of each clip in which most moves: frames, Farneback's flow, the "
        "network's"
    )

    def __init__(self, description: Mapping[str, Any], loaded: Mapping[str, Any]):
        network = build.flow_of(description["network"])
        variables = {"params": loaded["params"]["flow"]}
        size = description["mouth_size"]
        self.notes: tuple[str, ...] = (
            f"End-point error: mean distance to Farneback's flow, in pixels of the {size}-pixel "
            "crop. Warping error: mean absolute difference between a frame and the next one, "
            "warped back to it, in grey levels (0 to 255); noise and what comes into view keep "
            "it above zero.",
            f"'{ON_GRID}' is that flow averaged over the network's cells and spread again: what "
            "the network was taught, without a mistake.",
        )

        @jax.jit
        def errors(variables: Any, first: Any, second: Any, target: Any) -> dict[str, Any]:
            finest = network.apply(variables, to_unit(first), to_unit(second))[0]
            full = target.shape[1:3]
            factor = full[0] // finest.shape[1]
            flows = {
                NO_MOTION: jnp.zeros_like(target),
                FARNEBACK: target,
                ON_GRID: resize_flow(average_pool(target, factor) / factor, *full),
                NETWORK: resize_flow(finest, *full),
            }
            grey = first.astype(jnp.float32), second.astype(jnp.float32)
            made = {}
            for row, flow in flows.items():
                made[f"endpoint_error {row}"] = endpoint_error(flow, target)
                made[f"warping_error {row}"] = warping_error(*grey, flow)
            return {**made, "found": flows[NETWORK]}

        self._errors = partial(errors, variables)

    def measure(self, views: ClipViews) -> Measured:
        """Measures all consecutive pairs of a clip."""
        video, target = views.stream("mouth"), views.stream("flow").astype(np.float32)
        made = in_blocks(self._errors, video[:-1], video[1:], target)
        found = made.pop("found")
        rows = {
            row: {c: float(made[f"{c} {row}"].mean(dtype=np.float64)) for c in self.columns}
            for row in (NO_MOTION, FARNEBACK, ON_GRID, NETWORK)
        }
        del rows[FARNEBACK]["endpoint_error"]  # its distance to itself is no result
        return Measured(len(target), rows, {"video": video, "measured": target, "found": found})

    def sheet(self, clips: Sequence[Measured]) -> UInt8[np.ndarray, "H W 3"]:
        """Draws the liveliest pairs of some clips, one stretch of each, of one length."""
        length = min(_SHOWN, *(clip.count for clip in clips))
        shown: dict[str, list[np.ndarray]] = {"video": [], "measured": [], "found": []}
        for clip in clips:
            moved = np.linalg.norm(clip.pictures["measured"], axis=-1).mean(axis=(1, 2))
            start = int(np.argmax(np.convolve(moved, np.ones(length), mode="valid")))
            for name, pictures in shown.items():
                stop = start + length + (name == "video")
                pictures.append(clip.pictures[name][start:stop])
        video, measured, found = (np.stack(pictures) for pictures in shown.values())
        return previews.flow_sheet(video, measured, found)
