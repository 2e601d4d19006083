# SPDX-License-Identifier: Apache-2.0
"""Discriminators: layers as released, streams as a list, logits per example."""

import functools
import runpy
from pathlib import Path

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lipjax.errors import ConfigError
from lipjax.models.discriminators import (
    DIFFERENCE_STRIDES,
    FLOW_STRIDES,
    Discriminator,
    SoundStream,
    VideoStream,
)

TABLE = runpy.run_path(str(Path(__file__).with_name("layer_table.py")))
THREE_STREAMS = (
    SoundStream(linear_norm="batch"),
    VideoStream(widths=(64, 128, 256, 256)),
    VideoStream(
        source="flow",
        widths=(64, 128, 256, 256),
        kernel_size=(3, 3, 3),
        strides=FLOW_STRIDES,
    ),
)
SMALL = {"norm": "frame", "negative_slope": 0.2}
SMALL_STREAMS = (
    SoundStream(features=8, widths=(4, 4, 8, 8), pool=(4, 1), **SMALL),
    VideoStream(widths=(4, 4, 8, 8), **SMALL),
)


def _shapes(module, videos):
    sound = jnp.zeros((2, 64, 128))
    return jax.eval_shape(lambda: module.init(jax.random.key(0), sound, videos))["params"]


def _found(params, row) -> int:
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    # A batch norm behind the linear layer is a layer of its own among the parameters.
    names = (f"{row[0]}/", f"{row[0]}_norm/")
    return sum(int(np.prod(x.shape)) for name, x in flat.items() if name.startswith(names))


@pytest.mark.parametrize(
    ("form", "module", "videos"),
    [
        ("TWO_STREAMS", Discriminator(), {"video": jnp.zeros((2, 16, 64, 64, 3))}),
        (
            "THREE_STREAMS",
            Discriminator(streams=THREE_STREAMS),
            {"video": jnp.zeros((2, 16, 64, 64, 3)), "flow": jnp.zeros((2, 15, 16, 16, 2))},
        ),
    ],
)
def test_released_discriminators_have_the_released_layers(form, module, videos):
    params = _shapes(module, videos)
    for part, rows in TABLE[form].items():
        for row in rows:
            assert _found(params, row) == TABLE["count"](row), row
        counted = sum(_found(params, row) for row in rows)
        assert counted == TABLE[f"{form}_TOTALS"][part], part
    assert sum(x.size for x in jax.tree.leaves(params)) == TABLE[f"{form}_TOTAL"]


@pytest.fixture(scope="module")
def small():
    module = Discriminator(streams=SMALL_STREAMS, joint_width=8, **SMALL)
    keys = jax.random.split(jax.random.key(0), 3)
    sound = jax.random.normal(keys[0], (2, 64, 128))
    video = jax.random.normal(keys[1], (2, 16, 64, 64, 3))
    fast_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    variables = fast_jit(module.init)(keys[2], sound, {"video": video})
    apply = fast_jit(lambda v, sound, video: module.apply(v, sound, {"video": video}, train=True))
    return apply, variables, sound, video


def test_without_batch_statistics_each_example_stands_alone(small):
    apply, variables, sound, video = small
    assert set(variables) == {"params"}
    assert set(variables["params"]) == {"sound", "video", "joint", "logit"}
    both = apply(variables, sound, video)
    assert both.shape == (2,)
    np.testing.assert_allclose(both[:1], apply(variables, sound[:1], video[:1]), atol=1e-5)


def test_the_logit_depends_on_sound_and_video_and_on_the_order_of_sounds(small):
    apply, variables, sound, video = small
    logits = apply(variables, sound, video)
    assert np.all(np.abs(logits - apply(variables, sound[::-1], video)) > 1e-4)
    assert np.all(np.abs(logits - apply(variables, sound, video[::-1])) > 1e-4)
    assert np.all(np.abs(logits - apply(variables, jnp.roll(sound, 16, axis=1), video)) > 1e-4)


def test_larger_pictures_are_judged_at_several_places():
    module = Discriminator(streams=SMALL_STREAMS, joint_width=8, **SMALL)
    logits = jax.eval_shape(
        lambda: module.init_with_output(
            jax.random.key(0),
            jnp.zeros((3, 64, 128)),
            {"video": jnp.zeros((3, 16, 96, 96, 3), jnp.float32)},
        )[0]
    )
    assert logits.shape == (3,)


def test_mistakes_are_named():
    video = jnp.zeros((2, 16, 64, 64, 3))
    module = Discriminator(streams=SMALL_STREAMS, joint_width=8, **SMALL)
    with pytest.raises(ConfigError, match="no input 'video'.*did you mean 'videos'"):
        _shapes(module, {"videos": video})
    with pytest.raises(ConfigError, match="one shape"):
        other = VideoStream(source="flow", widths=(4, 4), strides=((2, 2, 2), (2, 2, 2)))
        _shapes(Discriminator(streams=(*SMALL_STREAMS, other)), {"video": video, "flow": video})
    with pytest.raises(ConfigError, match="pool \\(5, 1\\).*use 1x1"):
        _shapes(Discriminator(streams=(SoundStream(pool=(5, 1)),)), {"video": video})


def test_strides_that_leave_nothing_are_named():
    video = {"video": jnp.zeros((1, 4, 64, 64, 3))}
    with pytest.raises(ConfigError, match="does not fit"):
        jax.eval_shape(Discriminator().init, jax.random.key(0), jnp.zeros((1, 16, 128)), video)


@pytest.mark.parametrize(
    ("stream", "shape"),
    [
        # As the paper draws it: four taps; its flow is smaller than the frames.
        (VideoStream(source="flow", strides=FLOW_STRIDES, padding=None), (15, 16, 16, 2)),
        # Row (i) of its Table 2.
        (VideoStream(source="difference", strides=DIFFERENCE_STRIDES), (15, 64, 64, 3)),
    ],
)
def test_the_papers_third_stream_meets_the_others(stream, shape):
    frames, stream = (x.clone(widths=(64, 256, 256, 256)) for x in (VideoStream(), stream))
    module = Discriminator(streams=(SoundStream(), frames, stream))
    videos = {"video": jnp.zeros((2, 16, 64, 64, 3)), stream.source: jnp.zeros((2, *shape))}
    params = _shapes(module, videos)
    assert params["joint"]["conv"]["kernel"].shape == (3, 3, 3, 768, 512)
    first = 64 * shape[-1] * 64 + 64
    rest = 64 * 256 * (64 + 256 + 256) + 3 * 2 * 256
    found = sum(x.size for x in jax.tree.leaves(params[stream.source]))
    assert found == first + rest
    maps = jax.eval_shape(
        lambda: stream.init_with_output(jax.random.key(0), videos[stream.source], train=False)[0]
    )
    assert maps.shape == (2, 1, 4, 4, 256)
