# SPDX-License-Identifier: Apache-2.0
"""Every experiment of configs/ builds, and the released form counts what the released code has."""

import itertools

import jax
import jax.numpy as jnp
import pytest

from lipjax import build
from lipjax.config_files import load_config
from lipjax.errors import ConfigError

SIZES, FORMS = ("grid", "grid_cpu", "demo", "tiny"), ("lipjax", "released", "paper")


def shapes(config):
    """The task of a config and the shapes of its state, without computing anything."""
    task = build.task_of(config)
    data, frames = config.data, config.frames
    size, bands = data.mouth_size, data.log_mel.bands
    columns = (frames + 2 * config.generator.audio_context) * 4
    batch = {
        "video": jnp.zeros((2, frames, size, size, 3), jnp.uint8),
        "identity": jnp.zeros((2, 1, size, size, 3), jnp.uint8),
        "log_mel": jnp.zeros((2, columns, bands)),
        "wrong_log_mel": jnp.zeros((2, columns, bands)),
    }
    state = jax.eval_shape(task.init, jax.random.key(0), batch, {})
    jax.eval_shape(task.train_step, state, batch)
    return task, {name: count(tree) for name, tree in state.params.items()}


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(("size", "form"), list(itertools.product(SIZES, FORMS)))
def test_every_variant_builds_and_steps(size, form):
    config = load_config(f"configs/at_a_glance.py:{size},form={form}")
    task, counts = shapes(config)
    streams = build.streams_of(config.data)
    assert streams.log_mel.columns_per_second == 100.0
    assert task.generator.columns_per_frame == 4
    assert ("discriminator" in counts) == (config.weights.adversarial > 0)


def test_released_config_counts_as_released():
    _, counts = shapes(load_config("configs/at_a_glance.py:grid,form=released"))
    assert counts == {"generator": 16_695_267, "discriminator": 55_593_249}


@pytest.mark.parametrize("size", [96, 128])
def test_other_sizes_build(size):
    words = [f"--config.data.mouth_size={size}"]
    task, _ = shapes(load_config("configs/at_a_glance.py:demo", words))
    assert task.generator.size == size


def test_bfloat16_is_a_setting():
    words = ["--config.generator.dtype=bfloat16", "--config.discriminator.dtype=bfloat16"]
    task, _ = shapes(load_config("configs/at_a_glance.py:grid", words))
    assert task.generator.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("--config.data.mouth_size=80", "nearest size"),
        ("--config.generator.dtype=float61", "did you mean 'bfloat16'|did you mean 'float32'"),
        ("--config.task=at_a_glanse", "did you mean 'at_a_glance'"),
        ("--config.generator.audio_widths=(4,4)", "audio_widths has 2 entries"),
    ],
)
def test_settings_that_cannot_work_are_named(word, says):
    with pytest.raises(ConfigError, match=says):
        build.task_of(load_config("configs/at_a_glance.py:demo", [word]))
