# SPDX-License-Identifier: Apache-2.0
"""The JAX log-mel equals its NumPy twin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lipjax.media import log_mel as reference
from lipjax.media.log_mel import LogMel
from lipjax.nn.log_mel import log_mel

SETTINGS = [
    LogMel(),
    LogMel(hop=200, window=800, n_fft=800, bands=80, fmin=55, fmax=7600),
    LogMel(hop=161, window=401, n_fft=512, bands=40),
    LogMel(hop=3000, window=512, n_fft=512, bands=20),
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("count", [100, 3200, 16_077])
def test_twins_are_equal(settings, count):
    rng = np.random.default_rng(count)
    swell = np.linspace(0, 1, count) ** 6  # from silence through the floor to loud
    samples = (swell * rng.normal(0, 0.3, (2, 3, count))).astype(np.float32)
    ours = jax.jit(log_mel, static_argnums=1)(samples, settings, settings.filters())
    assert ours.dtype == jnp.float32
    assert ours.shape == (2, 3, count // settings.hop, settings.bands)
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(
            ours[index], reference.log_mel(samples[index], settings), atol=1e-5
        )


def test_silence_is_minus_one_with_finite_gradient():
    settings = LogMel()
    filters = settings.filters()
    assert np.all(log_mel(jnp.zeros((1600,)), settings, filters) == -1)
    slope = jax.grad(lambda x: log_mel(x, settings, filters).sum())(jnp.zeros((1600,)))
    assert np.all(np.isfinite(slope))
    tone = jnp.sin(jnp.arange(1600) * 0.3)
    slope = jax.grad(lambda x: log_mel(x, settings, filters).sum())(tone)
    assert np.all(np.isfinite(slope)) and np.abs(slope).max() > 0
