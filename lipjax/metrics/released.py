# SPDX-License-Identifier: Apache-2.0
"""Metrics as the authors' 2018 test script defines them: for quoting the paper's tables only.

Every frame is stretched by itself to 0..255, saved as JPEG and read back grey before it is
compared, 8-bit numbers wrap, and landmark distances are summed. None of this is good practice;
`lipjax.metrics.image`, `landmarks` and `cpbd` hold the definitions to use. Source: the script
`test.py` of the authors' published code of "Lip Movements Generation at a Glance" (2018).
"""

import io

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from lipjax.metrics.cpbd import canny, luma, slope_width
from lipjax.metrics.landmarks import MOUTH, lmd

SIZE = 64
"""Side of the released code's mouth crops, pixels."""
COLUMNS = {
    "psnr": "PSNR, wrapped",
    "ssim": "SSIM, 7x7",
    "cpbd": "CPBD, 2018",
    "lmd_sum": "LMD, sum of 20",
    "lmd_mean": "LMD, sum/20",
}

_IDENTICAL = 100.0
_WINDOW, _K1, _K2, _PEAK = 7, 0.01, 0.03, 255.0
_EDGE_POWER, _EDGE_SHARE = 4.0, 0.002
_BETA, _BINS_COUNTED = 3.6, 62


def stretched(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Stretches a picture so that its darkest value is 0 and its brightest 255.

    The released code saves floats with a function that does this to every picture by itself, so
    a real frame and its copy are stretched differently. A picture of one value becomes black.
    """
    low, high = float(image.min()), float(image.max())
    scale = 255.0 / (high - low) if high > low else 1.0
    return ((image - low) * scale + 0.5).astype(np.uint8)


def as_saved(mouths: UInt8[np.ndarray, "T S S 3"]) -> UInt8[np.ndarray, "T S S"]:
    """What the released code compares: frames stretched, through JPEG (quality 75), as grey."""
    return np.stack([_through_jpeg(stretched(mouth)) for mouth in mouths])


def _through_jpeg(image: UInt8[np.ndarray, "S S 3"]) -> UInt8[np.ndarray, "S S"]:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG")  # Pillow's own default is quality 75
    return luma(np.asarray(Image.open(buffer).convert("RGB")))


def psnr(
    prediction: UInt8[np.ndarray, "T H W"], target: UInt8[np.ndarray, "T H W"]
) -> Float[np.ndarray, "T"]:
    """PSNR of 8-bit pictures whose differences and squares wrap modulo 256.

    The mean square cannot exceed 255, so nothing falls below 24 dB, and for pictures that have
    nothing in common it is near 105.5: 27.9 dB. Differences of 16 or 128 count as none.

    Args:
        prediction: grey pictures.
        target: grey pictures of the same shape.

    Returns:
        Decibels per picture; 100 where all squares wrap to 0.
    """
    error = np.mean(np.square(prediction - target), axis=(1, 2), dtype=np.float64)
    known = np.where(error > 0, error, 1.0)
    return np.where(error > 0, 20 * np.log10(_PEAK / np.sqrt(known)), _IDENTICAL)


def ssim(
    prediction: UInt8[np.ndarray, "T H W"], target: UInt8[np.ndarray, "T H W"]
) -> Float[np.ndarray, "T"]:
    """SSIM as scikit-image computes it unless told otherwise.

    Uniform 7x7 window, sample covariance, K1 0.01, K2 0.03, range 255, windows that lie inside
    the picture. Not the Gaussian window of the paper that defines SSIM.

    Args:
        prediction: grey pictures of at least 7x7 pixels.
        target: grey pictures of the same shape.

    Returns:
        Similarity per picture, 1 for identical ones.
    """
    from scipy import ndimage

    first, second = prediction.astype(np.float64), target.astype(np.float64)
    edge = _WINDOW // 2

    def mean(images: Float[np.ndarray, "T H W"]) -> Float[np.ndarray, "T h w"]:
        smooth = ndimage.uniform_filter(images, size=(1, _WINDOW, _WINDOW))
        return smooth[:, edge:-edge, edge:-edge]

    sample = _WINDOW**2 / (_WINDOW**2 - 1)
    mean_1, mean_2 = mean(first), mean(second)
    variances = sample * (mean(first**2) + mean(second**2) - mean_1**2 - mean_2**2)
    covariance = sample * (mean(first * second) - mean_1 * mean_2)
    c_1, c_2 = (_K1 * _PEAK) ** 2, (_K2 * _PEAK) ** 2
    level = (2 * mean_1 * mean_2 + c_1) / (mean_1**2 + mean_2**2 + c_1)
    structure = (2 * covariance + c_2) / (variances + c_2)
    return np.mean(level * structure, axis=(1, 2))


def cpbd(image: UInt8[np.ndarray, "64 64"]) -> float:
    """CPBD in the released convention, of a picture that is one block.

    It differs from `lipjax.metrics.cpbd` in what counts as an edge (squared Sobel response above
    4, not thinned), in how far a falling edge runs to the right (flat steps count), and in the
    blur that is let through (63 %, not 64 %).

    Args:
        image: grey picture.

    Returns:
        0 (blurred everywhere, or no edges) to 1.
    """
    from scipy import ndimage

    grey = image.astype(np.float64)
    if canny(grey).sum() <= _EDGE_SHARE * grey.size:
        return 0.0
    kernel = np.array([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]) / 8
    edges = ndimage.correlate(grey, kernel) ** 2 > _EDGE_POWER
    edges[[0, -1]] = edges[:, [0, -1]] = False
    down, right = np.gradient(grey)
    angle = np.where(right != 0, np.round(np.degrees(np.arctan2(down, right)) / 45), 0)
    step = np.diff(grey, axis=1)
    rising = edges & (angle == 0)
    falling = edges & (np.abs(angle) == 4)
    widths = np.where(rising, slope_width(step > 0, step > 0), slope_width(step < 0, step <= 0))
    widths = widths[rising | falling]
    if not len(widths):
        return 0.0
    just_noticeable = 5.0 if int(grey.max() - grey.min()) <= 50 else 3.0
    blur = 1 - np.exp(-((widths / just_noticeable) ** _BETA))
    return float(np.mean(np.rint(100 * blur) <= _BINS_COUNTED))


def lmd_sum(
    prediction: Float[np.ndarray, "T 68 2"], target: Float[np.ndarray, "T 68 2"], *, size: int
) -> Float[np.ndarray, "T"]:
    """Sum over the 20 mouth points of their distances, in pixels of a 64-pixel crop.

    Each mouth is centred on its own mean; nothing is scaled or turned. The released code pastes
    every crop into one picture of one face and runs a detector on it, takes whole pixels, and
    leaves out frames without a face; here the points are those of the evaluation's reader on the
    same crops, with fractions, and every scored frame counts.

    Args:
        prediction: landmarks in pixels of a crop of side `size`.
        target: the true ones, likewise.
        size: side of that crop in pixels.

    Returns:
        Sum per frame; NaN where a point is missing.
    """
    points = MOUTH.stop - MOUTH.start
    return points * lmd(prediction[:, MOUTH], target[:, MOUTH], unit=size / SIZE)


def score_row(
    saved: UInt8[np.ndarray, "T 64 64"] | None,
    true_saved: UInt8[np.ndarray, "T 64 64"],
    points: Float[np.ndarray, "T 68 2"] | None,
    true_points: Float[np.ndarray, "T 68 2"],
    *,
    size: int,
    scored: Bool[np.ndarray, "T"],
    is_truth: bool = False,
) -> dict[str, float]:
    """Computes all released columns of one row for one clip.

    Args:
        saved: the row's 64-pixel crops as `as_saved` makes them; None if it has no pictures.
        true_saved: the real ones.
        points: the row's landmarks in pixels of a crop of side `size`; None if it has none.
        true_points: those of the real crops.
        size: side of the crop in pixels.
        scored: frames that count.
        is_truth: the row is the truth itself: only its sharpness says something.

    Returns:
        Column -> mean over the scored frames; NaN where the row has none.
    """
    series: dict[str, np.ndarray] = {}
    if saved is not None:
        series = {"cpbd": np.array([cpbd(image) for image in saved])}
        if not is_truth:
            pair = saved, true_saved
            series |= {"psnr": psnr(*pair), "ssim": ssim(*pair)}
    if points is not None and not is_truth:
        total = lmd_sum(points, true_points, size=size)
        series |= {"lmd_sum": total, "lmd_mean": total / (MOUTH.stop - MOUTH.start)}
    values = {}
    for column in COLUMNS:
        kept = series.get(column, np.full(len(scored), np.nan))[scored]
        kept = kept[np.isfinite(kept)]
        values[column] = float(kept.mean()) if len(kept) else float("nan")
    return values
