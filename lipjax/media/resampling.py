# SPDX-License-Identifier: Apache-2.0
"""Sample formats and sampling rates of mono sound."""

import numpy as np
from jaxtyping import Float, Float32, Int16

from lipjax.errors import ConfigError


def to_float(samples: Int16[np.ndarray, "n"]) -> Float32[np.ndarray, "n"]:
    """Returns 16-bit samples as floats in [-1, 1)."""
    return samples.astype(np.float32) / np.float32(32768)


def to_int16(samples: Float[np.ndarray, "n"]) -> Int16[np.ndarray, "n"]:
    """Returns floats of full scale 1 as 16-bit samples, rounded and clipped."""
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)


_BLOCK = 1 << 20  # samples resampled at a time


def resample_int16(
    samples: Int16[np.ndarray, "n"], rate_in: int, rate_out: int
) -> Int16[np.ndarray, "m"]:
    """Returns what `resample` makes of 16-bit samples, without the whole of it as floats.

    Args:
        samples: mono.
        rate_in: samples per second of the input, above 0.
        rate_out: samples per second of the output, above 0.
    """
    import soxr

    stream, out = soxr.ResampleStream(rate_in, rate_out, 1, "float32", "HQ"), bytearray()
    for first in range(0, len(samples), _BLOCK):
        block = to_float(samples[first : first + _BLOCK])
        done = stream.resample_chunk(block, last=first + _BLOCK >= len(samples))
        out.extend(to_int16(done).tobytes())
    return np.frombuffer(out, np.int16)


def resample(
    samples: Float[np.ndarray, "n"], rate_in: int, rate_out: int
) -> Float32[np.ndarray, "m"]:
    """Changes the sampling rate (soxr, high quality, no delay).

    Args:
        samples: mono.
        rate_in: samples per second of the input.
        rate_out: samples per second of the output.

    Returns:
        The same sound; the input itself where the rates are equal.

    Raises:
        ConfigError: a rate is not positive.
    """
    if rate_in <= 0 or rate_out <= 0:
        raise ConfigError(f"sampling rates must be positive, got {rate_in} and {rate_out}")
    samples = samples.astype(np.float32, copy=False)
    if rate_in == rate_out or not len(samples):
        return samples
    import soxr

    return soxr.resample(samples, rate_in, rate_out, quality="HQ").astype(np.float32, copy=False)
