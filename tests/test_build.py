# SPDX-License-Identifier: Apache-2.0
"""Every experiment of configs/ builds, and the released form counts what the released code has."""

import functools
import itertools

import jax
import jax.numpy as jnp
import pytest

from lipjax import build
from lipjax.config_files import load_config
from lipjax.errors import ConfigError

SIZES = ("grid", "lrw", "ldc", "grid_cpu", "demo", "tiny")
FORMS = ("lipjax", "released", "paper", "chung", "vondrick")
ROWS = "abcdefghi"


def given_of(config):
    """The earlier stages' networks as shapes, as if they were trained."""
    given, variables = {}, {}
    for name in build.given_names(config):
        stage = build.stage_of(config, name)
        network = build.task_of(stage).network
        frame = jnp.zeros((1, config.data.mouth_size, config.data.mouth_size, 3))
        frames = (frame, frame) if name == "flow" else (frame,)
        variables[name] = jax.eval_shape(network.init, jax.random.key(0), *frames)
        if name == "perceptual":
            variables[name] = {kind: tree["encoder"] for kind, tree in variables[name].items()}
        variables[name] = {"batch_stats": {}, **variables[name]}
        given[name] = build.Given(stage.network.to_dict(), variables[name])
    return given, variables


def shapes(config, step=True):
    """The task of a config and the sizes of its networks, without computing anything.

    Args:
        config: the experiment.
        step: whether the training step is looked through as well.
    """
    given, variables = given_of(config)
    task = build.task_of(config, given)
    data, frames = config.data, config.frames
    size, bands = data.mouth_size, data.log_mel.bands
    columns = (frames + 2 * task.generator.audio_context) * 4
    batch = {
        "video": jnp.zeros((2, frames, size, size, 3), jnp.uint8),
        "identity": jnp.zeros((2, 1, size, size, 3), jnp.uint8),
        "log_mel": jnp.zeros((2, columns, bands)),
        "wrong_log_mel": jnp.zeros((2, columns, bands)),
    }
    state = jax.eval_shape(task.init, jax.random.key(0), batch, variables)
    if step:
        jax.eval_shape(task.train_step, state, batch)
    return task, {name: count(tree) for name, tree in state.params.items()}


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ("size", "form"),
    sorted({*itertools.product(("grid", "tiny"), FORMS), *zip(SIZES, FORMS, strict=False)}),
)
def test_every_variant_builds_and_steps(size, form):
    config = load_config(f"configs/at_a_glance.py:{size},form={form}")
    task, counts = shapes(config)
    streams = build.streams_of(config.data)
    assert streams.log_mel.columns_per_second == 100.0
    assert task.generator.columns_per_frame == 4
    assert ("discriminator" in counts) == (config.weights.adversarial > 0)
    assert counts["generator"] > 1000


def test_released_config_counts_as_released():
    _, counts = shapes(load_config("configs/at_a_glance.py:grid,form=released"), step=False)
    assert counts == {
        "generator": 16_695_267,
        "discriminator": 55_593_249,
        "correlation": 392_400 + 11_580,
        "flow": 38_676_496,
    }
    _, counts = shapes(load_config("configs/at_a_glance.py:grid,form=released,row=e"), step=False)
    assert counts["discriminator"] == 54_278_881
    config = load_config("configs/at_a_glance.py:grid,form=released,row=d")
    assert build.given_names(config) == ("flow", "perceptual")
    counted = count(given_of(config)[1]["perceptual"]["params"])
    assert counted == 7_462_976


def test_baselines_count_as_released():
    _, counts = shapes(load_config("configs/at_a_glance.py:grid,form=vondrick"), step=False)
    assert counts == {"generator": 35_938_343, "discriminator": 40_797_537}
    _, counts = shapes(load_config("configs/at_a_glance.py:grid,form=chung"), step=False)
    never_run = 299_136  # two convolutions that the released module holds but never applies
    assert counts == {"generator": 38_778_992 - never_run}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_ablation_has_its_losses_and_streams(row):
    config = load_config(f"configs/at_a_glance.py:tiny,row={row}")
    task, counts = shapes(config)
    assert ("discriminator" in counts) == (row != "b")
    assert ("correlation" in counts) == (row in "efgi")
    assert (task.perceptual is not None) == (row in "defghi")
    assert (task.weights.pixel > 0) == (row != "a")
    third = {"g": set(), "h": set(), "i": {"difference"}}.get(row, {"flow"})
    assert row == "b" or task.judge.sources == {"video"} | third
    if row == "f":
        assert task.correlation.sees == "video" and not task.correlation.sound.derivative


@pytest.mark.parametrize("row", "gae")
def test_released_batch_statistics_of_one_clip_are_refused(row):
    name = f"configs/at_a_glance.py:grid,form=released,row={row}"
    config = load_config(name, overrides=["--config.data.batch_size=1"])
    with pytest.raises(ConfigError, match="silence the sound stream"):
        build.task_of(config, given_of(config)[0])


def test_our_discriminator_hears_a_single_clip():
    config = load_config(
        "configs/at_a_glance.py:tiny,row=e", overrides=["--config.data.batch_size=1"]
    )
    judge = build.discriminator_of(config.discriminator)
    keys = jax.random.split(jax.random.key(0), 4)
    sounds = jax.random.uniform(keys[0], (2, 1, 64, 128), minval=-1.0)
    clip = {
        "video": jax.random.uniform(keys[1], (1, 16, 64, 64, 3), minval=-1.0),
        "flow": jax.random.normal(keys[2], (1, 15, 16, 16, 2)),
    }
    variables = jax.jit(judge.init)(keys[3], sounds[0], clip)
    says = jax.jit(functools.partial(judge.apply, train=True, mutable=["batch_stats"]))
    one, other = (says(variables, sound, clip)[0] for sound in sounds)
    assert abs(float(one[0] - other[0])) > 1e-3


@pytest.mark.parametrize("size", [96, 128])
def test_other_sizes_build(size):
    words = [f"--config.data.mouth_size={size}"]
    task, _ = shapes(load_config("configs/at_a_glance.py:demo", overrides=words))
    assert task.generator.size == size


def test_bfloat16_is_a_setting():
    words = ["--config.generator.dtype=bfloat16", "--config.discriminator.dtype=bfloat16"]
    task, _ = shapes(load_config("configs/at_a_glance.py:grid,row=c", overrides=words))
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
        build.task_of(load_config("configs/at_a_glance.py:demo", overrides=[word]))


@pytest.mark.parametrize(
    ("name", "wide"),
    [("grid", True), ("grid,form=paper", True), ("grid,form=chung", True), ("grid_cpu", False)]
    + [
        ("demo", False),
        ("tiny", False),
        ("tiny,form=vondrick", False),
        ("grid_cpu,form=chung", False),
    ],
)
def test_wide_networks_are_told_from_small_ones(name, wide):
    config = load_config(f"configs/at_a_glance.py:{name}")
    assert build.is_wide(config) == wide
    if "," not in name:
        for stage in ("flow", "perceptual"):
            assert build.is_wide(build.stage_of(config, stage)) == wide
