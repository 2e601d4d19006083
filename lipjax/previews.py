# SPDX-License-Identifier: Apache-2.0
"""What training shows of itself on fixed held-out windows, one kind of picture per family."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from lipjax.media import draw
from lipjax.media.image import to_pixels
from lipjax.media.optical_flow import colour_wheel, flow_picture
from lipjax.models.optical_flow import video_flow
from lipjax.nn.warping import resize_flow
from lipjax.speakers.contract import Speaker

Preview = Callable[[Any, int], dict[str, np.ndarray]]
Batch = Mapping[str, np.ndarray]
_SHOWN = 4


def _first(batch: Batch) -> dict[str, np.ndarray]:
    return {name: np.asarray(value)[:_SHOWN] for name, value in batch.items()}


def _pictures(made: Any) -> np.ndarray:
    """uint8 pictures; what a network that has gone wrong makes of NaN is drawn grey."""
    return to_pixels(np.nan_to_num(np.asarray(made)))


def talking(speaker: Speaker, batch: Batch) -> Preview:
    """Draws real mouths above generated ones, as a sheet and as a video."""
    batch = _first(batch)

    @jax.jit
    def generate(params: Any, identity: Any, log_mel: Any) -> Any:
        carry = speaker.begin(params, identity / 127.5 - 1.0)
        return speaker.step(params, carry, log_mel, None)[0]

    def preview(params: Any, step: int) -> dict[str, np.ndarray]:
        identity = batch["identity"].astype(np.float32)
        made = _pictures(generate(params, identity, batch["log_mel"]))
        pairs = list(zip(batch["video"], made, strict=True))
        rows = {}
        for number, (real, fake) in enumerate(pairs, start=1):
            rows[f"{number} real"], rows[f"{number} generated"] = real, fake
        columns = [np.concatenate([real, fake], axis=1) for real, fake in pairs]
        return {"sheet": draw.contact_sheet(rows), "talking": np.concatenate(columns, axis=2)}

    return preview


def flows(network: Any, batch: Batch) -> Preview:
    """Draws frames, the flow that Farnebäck's method measures and the network's, coloured."""
    batch = _first(batch)

    @jax.jit
    def see(params: Any, video: Any) -> Any:
        found = video_flow(lambda *pair: network.apply(params, *pair), video / 127.5 - 1.0)
        size = video.shape[2]
        full = resize_flow(found.reshape(-1, *found.shape[2:]), size, size)
        return full.reshape(*found.shape[:2], size, size, 2)

    def preview(params: Any, step: int) -> dict[str, np.ndarray]:
        found = np.nan_to_num(np.asarray(see(params, batch["video"].astype(np.float32))))
        return {"sheet": flow_sheet(batch["video"], batch["flow"], found)}

    return preview


def flow_sheet(
    video: UInt8[np.ndarray, "B T H W 3"], measured: np.ndarray, found: np.ndarray
) -> UInt8[np.ndarray, "h w 3"]:
    """A sheet of frames, measured flow and the network's flow, with the colour wheel below.

    Args:
        video: frames.
        measured: flow [B T-1 H W 2] in pixels.
        found: likewise; both are coloured by the clip's largest measured flow.
    """
    rows = {}
    for number, (frames, one, other) in enumerate(zip(video, measured, found, strict=True), 1):
        largest = max(float(np.percentile(np.linalg.norm(one, axis=-1), 99.5)), 0.1)
        rows[f"{number} frames"] = frames[:-1]
        # The font of drawn labels has no umlaut.
        rows[f"{number} Farneback, full colour {largest:.1f} px"] = flow_picture(
            one, largest=largest
        )
        rows[f"{number} network"] = flow_picture(other, largest=largest)
    rows["colours: direction and length"] = colour_wheel(video.shape[2])[None]
    return draw.contact_sheet(rows)


def reconstructions(network: Any, batch: Batch) -> Preview:
    """Draws frames above their reconstructions by the perceptual autoencoder."""
    batch = _first(batch)

    @jax.jit
    def rebuild(params: Any, video: Any) -> Any:
        frames = video.reshape(-1, *video.shape[2:]) / 127.5 - 1.0
        return network.apply(params, frames, train=False).reshape(video.shape)

    def preview(params: Any, step: int) -> dict[str, np.ndarray]:
        made = _pictures(rebuild(params, batch["video"].astype(np.float32)))
        rows = {}
        for number, (real, fake) in enumerate(zip(batch["video"], made, strict=True), start=1):
            rows[f"{number} frames"], rows[f"{number} reconstructed"] = real, fake
        return {"sheet": draw.contact_sheet(rows)}

    return preview
