# SPDX-License-Identifier: Apache-2.0
"""The rows of the paper's Table 2 (GRID): which losses train the generator, and who judges it."""

from typing import Any

from ml_collections import ConfigDict

ROWS: dict[str, dict[str, Any]] = {
    "a": {"adversarial": "three"},
    "b": {"pixel": True},
    "c": {"adversarial": "three", "pixel": True},
    "d": {"adversarial": "three", "pixel": True, "perceptual": True},
    "e": {"adversarial": "three", "pixel": True, "perceptual": True, "correlation": "derivative"},
    "f": {"adversarial": "three", "pixel": True, "perceptual": True, "correlation": "plain"},
    "g": {"adversarial": "two", "pixel": True, "perceptual": True, "correlation": "derivative"},
    "h": {"adversarial": "two", "pixel": True, "perceptual": True},
    "i": {
        "adversarial": "difference",
        "pixel": True,
        "perceptual": True,
        "correlation": "derivative",
    },
}
"""Row -> loss -> its kind. "e" is the paper's full model, "g" what the released trainer trains."""

_STREAMS = {"two": ("video",), "three": ("video", "flow"), "difference": ("video", "difference")}


def set_row(config: ConfigDict, row: str) -> None:
    """Takes the losses that a row lacks out of a config that has them all."""
    marks = ROWS[row]
    for loss in ("pixel", "adversarial", "perceptual", "correlation"):
        if loss not in marks:
            config.weights[loss] = 0.0
    if "adversarial" in marks:
        _set_streams(config, marks["adversarial"])
    if marks.get("correlation") == "plain":
        config.correlation.update({"derivative": False, "sees": "video", "train_flow": False})
        widths = config.correlation.motion_widths
        # The frames are four times as large as the flow's grid: two more halvings.
        config.correlation.motion_widths = (*widths, widths[-1], widths[-1])


def _set_streams(config: ConfigDict, kind: str) -> None:
    judge = config.discriminator
    if judge.kind != "streams":
        return
    judge.streams = _STREAMS[kind]
    if kind == "two":
        # Alone, the video stream is twice as wide at its end, and the sound's vector has a bias
        # in place of a norm.
        judge.video.widths = (*judge.video.widths[:-1], 2 * judge.video.widths[-1])
        judge.sound.linear_norm = "none"
