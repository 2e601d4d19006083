# SPDX-License-Identifier: Apache-2.0
"""The perceptual network: its size, its reflected borders, and frames that stand alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lipjax.errors import ConfigError
from lipjax.models.perceptual import PerceptualAutoencoder, PerceptualEncoder

SMALL = {"widths": (4, 6, 8), "residual_blocks": 1}


def frames(*shape: int, seed: int = 0):
    return jax.random.uniform(jax.random.key(seed), shape, minval=-1.0, maxval=1.0)


def count(tree) -> int:
    return sum(x.size for x in jax.tree.leaves(tree))


def test_the_released_network_has_the_released_size():
    shapes = jax.eval_shape(
        lambda: PerceptualAutoencoder().init_with_output(
            jax.random.key(0), jnp.zeros((2, 64, 64, 3)), train=False
        )
    )
    assert shapes[0].shape == (2, 64, 64, 3)
    params = shapes[1]["params"]
    assert count(params) == 7_841_411
    assert count(params["encoder"]) == 7_462_976
    feature = jax.eval_shape(
        PerceptualEncoder().apply,
        {"params": params["encoder"], "batch_stats": shapes[1]["batch_stats"]["encoder"]},
        jnp.zeros((3, 96, 64, 3)),
    )
    assert feature.shape == (3, 24, 16, 256)


@pytest.fixture(scope="module")
def trained():
    """A small autoencoder whose running statistics have seen a batch."""
    module, seen = PerceptualAutoencoder(**SMALL), frames(5, 16, 16, 3)
    variables = module.init(jax.random.key(1), seen)
    for seed in range(3):
        _, changed = module.apply(
            variables, frames(5, 16, 16, 3, seed=seed), train=True, mutable=["batch_stats"]
        )
        variables = {"params": variables["params"], **changed}
    return module, variables


def test_the_encoder_works_alone_on_its_part_of_the_variables(trained):
    module, variables = trained
    seen = frames(2, 16, 16, 3, seed=7)
    _, kept = module.apply(variables, seen, capture_intermediates=lambda m, _: m.name == "encoder")
    part = {kind: tree["encoder"] for kind, tree in variables.items()}
    feature = PerceptualEncoder(**SMALL).apply(part, seen)
    assert feature.shape == (2, 4, 4, 8) and np.std(feature) > 0.1
    (inside,) = kept["intermediates"]["encoder"]["__call__"]
    np.testing.assert_array_equal(feature, inside)


def test_as_a_measure_a_frame_stands_alone(trained):
    module, variables = trained
    part = {kind: tree["encoder"] for kind, tree in variables.items()}
    encoder, seen = PerceptualEncoder(**SMALL), frames(3, 16, 16, 3, seed=8)
    feature = encoder.apply(part, seen)
    alone = jnp.concatenate([encoder.apply(part, frame[None]) for frame in seen])
    np.testing.assert_allclose(feature, alone, atol=1e-5)
    # With the statistics of the batch it would not.
    train = lambda x: encoder.apply(part, x, train=True, mutable=["batch_stats"])[0]  # noqa: E731
    assert np.abs(train(seen)[:1] - train(seen[:1])).max() > 0.1


def reflected_conv(x, kernel):
    half = kernel.shape[0] // 2
    padded = np.pad(x, ((half, half), (half, half), (0, 0)), mode="reflect")
    y = np.zeros((*x.shape[:2], kernel.shape[-1]))
    for row, column in np.ndindex(*x.shape[:2]):
        seen = padded[row : row + 2 * half + 1, column : column + 2 * half + 1]
        y[row, column] = np.einsum("hwi,hwio->o", seen, kernel)
    return y


def normed(x, params, stats):
    scale = params["scale"] / np.sqrt(stats["var"] + 1e-5)
    return (x - stats["mean"]) * scale + params["bias"]


def test_borders_are_reflected():
    fields = {**SMALL, "widths": (4,)}
    module, seen = PerceptualAutoencoder(**fields), frames(1, 9, 10, 3, seed=9)
    statistics = module.init(jax.random.key(2), seen)
    _, changed = module.apply(statistics, frames(4, 9, 10, 3), train=True, mutable=["batch_stats"])
    made = module.apply({**statistics, **changed}, seen)
    params, stats = statistics["params"], changed["batch_stats"]["encoder"]

    def layer(x, path):
        p, s = params["encoder"], stats
        for name in path:
            p, s = p[name], s[name]
        return normed(reflected_conv(x, p["conv"]["kernel"]), p["norm"], s["norm"])

    x = np.maximum(layer(np.asarray(seen[0]), ("down", "layer_1")), 0)
    y = np.maximum(layer(x, ("residual_1", "first")), 0)
    x = x + layer(y, ("residual_1", "second"))
    colours = params["colours"]
    expected = np.tanh(reflected_conv(x, colours["kernel"]) + colours["bias"])
    np.testing.assert_allclose(made[0], expected, atol=1e-5)
    edge = np.abs(expected - expected.mean((0, 1)))[[0, -1]]
    assert edge.max() > 1e-3


def test_without_batch_norm_there_are_no_statistics_and_biases_instead():
    module = PerceptualAutoencoder(**SMALL, norm="frame")
    variables = jax.eval_shape(module.init, jax.random.key(0), frames(1, 16, 16, 3))
    assert set(variables) == {"params"}
    assert "bias" in variables["params"]["encoder"]["residual_1"]["first"]["conv"]


def test_sizes_that_would_come_back_larger_are_refused():
    with pytest.raises(ConfigError, match=r"18x16.*that 4 divides"):
        PerceptualAutoencoder(**SMALL).init(jax.random.key(0), frames(1, 18, 16, 3))
