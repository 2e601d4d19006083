# SPDX-License-Identifier: Apache-2.0
"""lipjax's training step of the released system, built from its config; needs no PyTorch."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from lipjax.builders.networks import flow_of, perceptual_encoder_of
from lipjax.builders.stages import Given, given_names, stage_of
from lipjax.builders.tasks import task_of
from lipjax.configs.at_a_glance import get_config
from lipjax.tasks.at_a_glance import GeneratorTask

ROWS = {"two": "g", "three": "e"}
"""Streams of the discriminator -> row of the paper's Table 2; "two" is the released trainer's."""


def config_of(streams: str = "two", *, small: bool = False, batch: int = 2) -> ConfigDict:
    """Returns the released system's config, at full widths or at small ones."""
    config = get_config(f"grid,form=released,row={ROWS[streams]}")
    config.data.batch_size = batch
    if small:
        config.generator.update(
            {
                "audio_widths": (4, 4, 6, 6, 8),
                "identity_widths": (4, 6, 8),
                "fusion_width": 8,
                "residual_blocks": 2,
                "decoder_widths": (6, 4),
            }
        )
        config.discriminator.joint_width = 8
        config.discriminator.sound.update({"widths": (4, 4, 6, 6), "features": 8})
        for name in ("video", "flow"):
            config.discriminator[name].widths = (4, 6, 8, 8)
        config.correlation.update({"sound_widths": (8, 6, 6, 4), "motion_widths": (4, 6, 6, 4)})
        config.stages.flow.network.update(
            {"widths": (8, 8, 8, 8, 8, 8), "decoder_widths": (8, 8, 6, 6)}
        )
        config.stages.perceptual.network.update({"widths": (4, 6, 8), "residual_blocks": 2})
    return config


def task_and_given(config: ConfigDict) -> tuple[GeneratorTask, dict[str, Any]]:
    """Returns the training stage, and untrained variables of the earlier stages' networks."""
    settings = {name: stage_of(config, name).network for name in given_names(config)}
    task = task_of(config, {name: Given(found, {}) for name, found in settings.items()})
    picture = jnp.zeros((1, 64, 64, 3))
    keys = jax.random.split(jax.random.key(1))
    flow, perceptual = flow_of(settings["flow"]), perceptual_encoder_of(settings["perceptual"])
    return task, {
        "flow": jax.jit(flow.init)(keys[0], picture, picture),
        "perceptual": jax.jit(perceptual.init)(keys[1], picture),
    }


def batch_of(config: ConfigDict, noise: Any) -> dict[str, np.ndarray]:
    """Returns a made-up batch.

    Args:
        config: for its sizes.
        noise: makes numbers in [-1, 1) from a name and a shape.
    """
    size, frames, bands = config.data.batch_size, config.frames, config.data.log_mel.bands
    side = config.data.mouth_size

    def pictures(name: str, count: int) -> np.ndarray:
        shape = (size, count, side, side, 3)
        return (127.5 + 127.0 * noise(f"batch/{name}", shape)).astype(np.uint8)

    return {
        "video": pictures("video", frames),
        "identity": pictures("identity", 1),
        "log_mel": noise("batch/log_mel", (size, 4 * frames, bands)),
        "wrong_log_mel": noise("batch/wrong_log_mel", (size, 4 * frames, bands)),
    }


def keeping_gradients(task: GeneratorTask) -> GeneratorTask:
    """The same task, whose optimisers move nothing and keep the gradients as their state."""

    def update(gradient: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return jax.tree.map(jnp.zeros_like, gradient), gradient

    init = lambda params: jax.tree.map(jnp.zeros_like, params)  # noqa: E731
    keeper = optax.GradientTransformation(init, update)
    return dataclasses.replace(task, optimizers=dict.fromkeys(task.optimizers, keeper))


def variables_of(state: Any, name: str) -> Mapping[str, Any]:
    """A player's Linen variables."""
    return {"params": state.params[name], "batch_stats": state.stats[name]}
