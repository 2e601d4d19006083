# SPDX-License-Identifier: Apache-2.0
"""The flow network: its size, its scales, and all of it again in plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lipjax.errors import ConfigError
from lipjax.models.optical_flow import FlowNet, video_flow

LIGHT = FlowNet(widths=(16, 32, 64, 96, 96, 128), decoder_widths=(64, 48, 32, 24))


def pictures(*shape: int, seed: int = 0):
    keys = jax.random.split(jax.random.key(seed))
    return tuple(jax.random.uniform(key, shape, minval=-1.0, maxval=1.0) for key in keys)


def test_the_published_network_has_the_published_size():
    module, picture = FlowNet(), jnp.zeros((2, 64, 64, 3))
    params = jax.eval_shape(module.init, jax.random.key(0), picture, picture)["params"]
    assert sum(x.size for x in jax.tree.leaves(params)) == 38_676_496
    inputs = {4: 1026, 3: 770, 2: 386}
    assert {n: params[f"deconv_{n}"]["conv"]["kernel"].shape[2] for n in inputs} == inputs
    assert params["predict_2"]["kernel"].shape == (3, 3, 194, 2)


@pytest.mark.parametrize(
    ("module", "size", "grids"),
    [
        (FlowNet(), (64, 64), [(16, 16), (8, 8), (4, 4), (2, 2), (1, 1)]),
        (LIGHT, (96, 64), [(24, 16), (12, 8), (6, 4), (3, 2), (2, 1)]),
        (FlowNet(widths=(4, 4, 8, 8), decoder_widths=(8, 4)), (64, 64), [(16, 16), (8, 8), (4, 4)]),
        (FlowNet(widths=(4, 4), decoder_widths=()), (30, 50), [(8, 13)]),
    ],
)
def test_predictions_halve_from_the_finest(module, size, grids):
    picture = jnp.zeros((2, *size, 3))
    flows = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), picture, picture)[0])
    assert [flow.shape for flow in flows] == [(2, *grid, 2) for grid in grids]


def test_predictions_are_float32_whatever_the_computation():
    module, picture = LIGHT.clone(dtype=jnp.bfloat16), jnp.zeros((1, 64, 64, 3))
    flows, variables = jax.eval_shape(
        lambda: module.init_with_output(jax.random.key(0), picture, picture)
    )
    assert {x.dtype for x in jax.tree.leaves((flows, variables))} == {jnp.dtype("float32")}


def test_more_decoder_than_encoder_is_refused():
    picture = jnp.zeros((1, 8, 8, 3))
    with pytest.raises(ConfigError, match="at most 1 decoder_widths, not 2"):
        FlowNet(widths=(4, 4), decoder_widths=(4, 4)).init(jax.random.key(0), picture, picture)


def convolved(x, layer, stride):
    """A convolution, tap by tap, with (taps - 1) / 2 zeros on every side."""
    kernel = np.asarray(layer["kernel"], np.float64)
    half = kernel.shape[0] // 2
    padded = np.pad(x, ((half, half), (half, half), (0, 0)))
    shape = [(n - 1) // stride + 1 for n in x.shape[:2]]
    y = np.zeros((*shape, kernel.shape[-1]))
    for row, column in np.ndindex(*shape):
        seen = padded[row * stride :, column * stride :][: 2 * half + 1, : 2 * half + 1]
        y[row, column] = np.einsum("hwi,hwio->o", seen, kernel)
    return y + np.asarray(layer.get("bias", 0.0))


def enlarged(x, layer):
    """A transposed convolution of 4 taps and stride 2 whose margin of 1 is cut."""
    kernel = np.asarray(layer["kernel"], np.float64)
    y = np.zeros((2 * x.shape[0] + 2, 2 * x.shape[1] + 2, kernel.shape[-1]))
    for row, column in np.ndindex(*x.shape[:2]):
        cell = np.einsum("i,hwio->hwo", x[row, column], kernel)
        y[2 * row : 2 * row + 4, 2 * column : 2 * column + 4] += cell
    return y[1:-1, 1:-1] + np.asarray(layer.get("bias", 0.0))


def leaky(x):
    return np.where(x > 0, x, 0.1 * x)


def test_the_network_equals_plain_loops():
    module = FlowNet(widths=(3, 4, 5, 6), decoder_widths=(4, 3), scale=8.0)
    first, second = pictures(1, 19, 26, 3)
    flows, variables = module.init_with_output(jax.random.key(1), first, second)
    params = variables["params"]
    x = np.concatenate([first[0], second[0]], axis=-1).astype(np.float64)
    levels = []
    for number in (1, 2, 3, 4):
        x = leaky(convolved(x, params[f"conv_{number}"]["conv"], 2))
        if number > 2:
            x = leaky(convolved(x, params[f"conv_{number}_1"]["conv"], 1))
        levels.append(x)
    coarse = convolved(x, params["predict_4"], 1)
    expected = [coarse * 8 / 16]
    for level, skip in ((3, levels[2]), (2, levels[1])):
        height, width = skip.shape[:2]
        deconv = leaky(enlarged(x, params[f"deconv_{level}"]["conv"]))[:height, :width]
        up = enlarged(coarse, params[f"up_{level + 1}"])[:height, :width]
        x = np.concatenate([skip, deconv, up], axis=-1)
        coarse = convolved(x, params[f"predict_{level}"], 1)
        expected.insert(0, coarse * 8 / 2**level)
    assert [flow.shape[1:3] for flow in flows] == [(5, 7), (3, 4), (2, 2)]
    for flow, value in zip(flows, expected, strict=True):
        assert np.abs(value).max() > 1e-3
        np.testing.assert_allclose(flow[0], value, rtol=1e-4, atol=1e-6)


def test_the_flow_of_a_video_is_that_of_its_pairs():
    module = FlowNet(widths=(4, 4, 6), decoder_widths=(4,))
    video = jnp.stack(pictures(4, 16, 24, 3))
    variables = module.init(jax.random.key(1), video[0], video[1])
    flow = video_flow(lambda *pair: module.apply(variables, *pair), video)
    assert flow.shape == (2, 3, 4, 6, 2)
    for clip, frame in np.ndindex(2, 3):
        pair = video[clip, frame][None], video[clip, frame + 1][None]
        alone = module.apply(variables, *pair)[0][0]
        np.testing.assert_allclose(flow[clip, frame], alone, rtol=1e-4, atol=1e-6)
