# SPDX-License-Identifier: Apache-2.0
"""Aligned crops: 2x3 transforms, alignment on eyes and nose, warping without aliasing.

Pixels: the centre of pixel (0, 0) is (0, 0). A transform maps source pixels to crop pixels.
"""

import numpy as np
from jaxtyping import Bool, Float, Integer, Shaped

from lipjax.errors import ConfigError, FaceNotFoundError
from lipjax.media.landmark_status import MEASURED, MISSING

MOUTH = slice(48, 68)
"""The 20 points of the lips among the 68."""
STABLE = (27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 39, 42, 45)
"""Nose and corners of the eyes: speech and blinks hardly move them (eyelids are left out)."""
LEFT_EYE, RIGHT_EYE = (36, 39), (42, 45)
FINEST = 8192
"""Longest side in pixels of the fine crop that a shrinking warp averages; enough for 8K."""
SMOOTHING = 1.0
"""Standard deviation of the smoothing over time in frames."""


def apply(
    transform: Float[np.ndarray, "*t 2 3"], points: Shaped[np.ndarray, "*p 2"]
) -> Float[np.ndarray, "*q 2"]:
    """Moves points (x, y), [..., P, 2], by a transform or by one transform for each [P, 2]."""
    linear, shift = transform[..., :2], transform[..., None, :, 2]
    return points @ np.swapaxes(linear, -1, -2) + shift


def invert(transform: Float[np.ndarray, "*t 2 3"]) -> Float[np.ndarray, "*t 2 3"]:
    """Returns the transform that undoes `transform`."""
    linear = np.linalg.inv(transform[..., :2])
    return np.concatenate([linear, -linear @ transform[..., 2:]], axis=-1)


def compose(
    a: Float[np.ndarray, "*a 2 3"], b: Float[np.ndarray, "*b 2 3"]
) -> Float[np.ndarray, "*c 2 3"]:
    """Returns the transform that does `b` first and then `a`."""
    linear = a[..., :2] @ b[..., :2]
    return np.concatenate([linear, a[..., :2] @ b[..., 2:] + a[..., 2:]], axis=-1)


def similarity(
    source: Float[np.ndarray, "P 2"], target: Float[np.ndarray, "P 2"]
) -> Float[np.ndarray, "2 3"]:
    """Returns the rotation, scale and shift that bring `source` nearest to `target`.

    Least squares over points without reflection (Umeyama 1991); in the plane it has the closed
    form used here: with x + iy as complex numbers it is ordinary linear regression.
    """
    a, b = (np.asarray(p, np.float64) @ np.array([1, 1j]) for p in (source, target))
    centred = a - a.mean()
    spread = np.vdot(centred, centred).real
    factor = np.vdot(centred, b - b.mean()) / spread if spread > 0 else 1.0 + 0j
    return _matrix(factor, b.mean() - factor * a.mean())


def _matrix(factor: complex, shift: complex) -> Float[np.ndarray, "2 3"]:
    return np.array(
        [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]
    )


def mouth_transforms(
    landmarks: Float[np.ndarray, "T 68 2"],
    status: Integer[np.ndarray, "T"],
    *,
    size: int = 96,
    margin: float = 1.5,
) -> Float[np.ndarray, "T 2 3"]:
    """Finds the transforms from source pixels to an upright, steady crop of the mouth.

    Each frame's nose and eye corners are fitted to the clip's own mean shape by a similarity,
    whose parameters are smoothed in time without delay. So the head's motion is taken out,
    and the lips' own motion, opening and spreading, stays: one scale and one place per clip.

    Args:
        landmarks: 68 points in source pixels; NaN where missing.
        status: MISSING, MEASURED or INTERPOLATED per frame; only measured ones are fitted.
        size: side of the crop in pixels.
        margin: side of the crop in units of the clip's median mouth width.

    Returns:
        Transforms, source to crop. Missing frames get their neighbours' interpolated.

    Raises:
        FaceNotFoundError: no frame has landmarks, or they lie so that no mouth is among them.
        ConfigError: `size` or `margin` is not positive.
    """
    if size < 1 or margin <= 0:
        raise ConfigError(f"a crop needs a positive size and margin, not {size} and {margin}")
    measured = np.flatnonzero(status == MEASURED)
    if not len(measured):
        measured = np.flatnonzero(status != MISSING)
    if not len(measured):
        raise FaceNotFoundError("no frame of the clip has landmarks, so there is no mouth to crop")
    shapes = landmarks[measured].astype(np.float64)
    with np.errstate(all="ignore"):  # damaged landmarks, all in one place, have no scale
        try:
            transforms = _steady(shapes, measured, len(status), size, margin)
        except np.linalg.LinAlgError:
            transforms = np.full((1, 2, 3), np.nan)
    if not np.isfinite(transforms).all():
        raise FaceNotFoundError("the landmarks of the clip make no face: no mouth can be cropped")
    return transforms


def _steady(
    shapes: Float[np.ndarray, "N 68 2"],
    measured: Integer[np.ndarray, "N"],
    length: int,
    size: int,
    margin: float,
) -> Float[np.ndarray, "T 2 3"]:
    reference = _mean_shape(shapes)
    to_mean = np.stack([similarity(s[list(STABLE)], reference) for s in shapes])
    lips = apply(to_mean, shapes)[:, MOUTH]
    width = np.median(np.linalg.norm(lips[:, 0] - lips[:, 6], axis=-1))
    centre = np.median(lips.mean(axis=1), axis=0)

    # What is smoothed is what the eye sees of the crop: where its centre lies in the source,
    # its roll and its scale. Smoothing matrix entries would couple them through the lever
    # between the nose and the mouth.
    to_source = invert(to_mean)
    anchors = apply(to_source, centre[None])[:, 0]
    factors = to_source[:, 0, 0] + 1j * to_source[:, 1, 0]
    values = np.column_stack([anchors, np.unwrap(np.angle(factors)), np.log(np.abs(factors))])
    smooth = smooth_in_time(values, measured, deviation=SMOOTHING)
    every = np.arange(length)
    x, y, roll, log_scale = (np.interp(every, measured, column) for column in smooth.T)

    crop_scale = size / (margin * width)
    factors = crop_scale * np.exp(-log_scale - 1j * roll)
    middle = (size - 1) / 2 * (1 + 1j)
    shifts = middle - factors * (x + 1j * y)
    return np.stack([_matrix(f, s) for f, s in zip(factors, shifts, strict=True)])


def single_mouth_transform(
    landmarks: Float[np.ndarray, "68 2"], *, size: int = 96, margin: float = 1.5
) -> Float[np.ndarray, "2 3"]:
    """Finds the transform to the mouth crop of one picture: `mouth_transforms` of one frame."""
    return mouth_transforms(landmarks[None], np.array([MEASURED]), size=size, margin=margin)[0]


def _mean_shape(shapes: Float[np.ndarray, "T 68 2"]) -> Float[np.ndarray, "P 2"]:
    """The mean of the stable points after alignment to each other (Procrustes), eyes level."""
    stable = shapes[:, list(STABLE)]
    mean = np.median(stable - stable.mean(axis=1, keepdims=True), axis=0)
    for _ in range(3):
        mean = np.mean([apply(similarity(points, mean), points) for points in stable], axis=0)
    left, right = (
        mean[[STABLE.index(i) for i in eye]].mean(axis=0) for eye in (LEFT_EYE, RIGHT_EYE)
    )
    dx, dy = right - left
    level = np.conj(dx + 1j * dy) / np.hypot(dx, dy)
    return apply(_matrix(level, 0j), mean)


def smooth_in_time(
    values: Float[np.ndarray, "N C"], times: Integer[np.ndarray, "N"], *, deviation: float
) -> Float[np.ndarray, "N C"]:
    """Smooths values at given times by local lines under Gaussian weights.

    Symmetric, so nothing is delayed; times may have gaps; steady motion passes unchanged, also
    at both ends, where a plain Gaussian would lag behind.
    """
    smooth = np.empty_like(values)
    for first in range(0, len(times), 256):
        some = slice(first, first + 256)
        # Beyond eight deviations a weight is below 1e-13: long videos take linear time.
        ends = times[some][[0, -1]] + np.array([-8, 8]) * deviation
        near = slice(*np.searchsorted(times, ends))
        smooth[some] = _local_lines(values[near], times[near] - times[some, None], deviation)
    return smooth


def _local_lines(
    values: Float[np.ndarray, "N C"], lag: Integer[np.ndarray, "M N"], deviation: float
) -> Float[np.ndarray, "M C"]:
    """Values at lag 0 of the lines fitted under a Gaussian weight of the lags."""
    lag = lag.astype(np.float64)
    weight = np.exp(-0.5 * (lag / deviation) ** 2)
    s0, s1, s2 = (np.sum(weight * lag**k, axis=1) for k in range(3))
    spread = s0 * s2 - s1**2
    lonely = spread < 1e-6 * s0**2
    kernel = weight * (s2[:, None] - s1[:, None] * lag) / np.where(lonely, 1.0, spread)[:, None]
    kernel = np.where(lonely[:, None], weight / s0[:, None], kernel)
    return kernel @ values


def fixed_box(
    landmarks: Float[np.ndarray, "T 68 2"],
    status: Integer[np.ndarray, "T"],
    width: int,
    height: int,
    *,
    max_size: int = 256,
) -> tuple[Float[np.ndarray, "2 3"], tuple[int, int]]:
    """Finds the one box of the source that holds the face during the whole clip.

    Args:
        landmarks: 68 points in source pixels; NaN where missing.
        status: MISSING, MEASURED or INTERPOLATED per frame.
        width: width of the source in pixels.
        height: height of the source in pixels.
        max_size: longest side of the stored frames in pixels; never enlarged.

    Returns:
        frames_from_source and (height, width) of the frames. The box is 2.5 times as wide as
        the landmarks (or what their motion needs), cut at the picture's edges.

    Raises:
        FaceNotFoundError: no frame has landmarks.
    """
    seen: Bool[np.ndarray, " T"] = status != MISSING
    if not seen.any():
        raise FaceNotFoundError("no frame of the clip has landmarks, so there is no face to box")
    points = landmarks[seen].astype(np.float64)
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    face_width = float(np.median(np.ptp(points[..., 0], axis=1)))
    half = max(2.5 * face_width, 1.2 * float(np.max(high - low))) / 2
    centre = (low + high) / 2
    limits = np.array([width, height])
    first = np.clip(np.floor(centre - half), 0, limits - 1).astype(int)
    last = np.clip(np.ceil(centre + half), first + 1, limits).astype(int)
    scale = min(1.0, max_size / float(np.max(last - first)))
    w, h = (max(1, round(float(side) * scale)) for side in last - first)
    shift = scale * (0.5 - first) - 0.5
    return np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]]), (h, w)


def warp(
    image: Shaped[np.ndarray, "H W *c"],
    transform: Float[np.ndarray, "2 3"],
    size: int | tuple[int, int],
) -> Shaped[np.ndarray, "h w *c"]:
    """Resamples a picture: crop pixel (x, y) shows the source at the inverse of `transform`.

    Bilinear; where the crop shrinks the source, each crop pixel is the mean over its own area.
    Beyond its border the source repeats its edge.

    Args:
        image: uint8 or float, channels last.
        transform: source pixels to crop pixels.
        size: (height, width) of the crop, or the side of a square one.

    Returns:
        The crop, same dtype as `image`.
    """
    import cv2

    height, width = (size, size) if isinstance(size, int) else size
    shrink = 1 / np.sqrt(max(abs(np.linalg.det(transform[:, :2])), 1e-12))
    fine = max(1, min(int(np.ceil(shrink - 1e-6)), FINEST // max(height, width)))
    # Sample a crop `fine` times as large, steps of at most one source pixel, then average.
    offset = (fine - 1) / 2
    matrix = fine * transform + np.array([[0, 0, offset], [0, 0, offset]])
    # OpenCV is exact for uint8 and float32, but rounds positions to 1/32 pixel for float64.
    source = image if image.dtype == np.uint8 else image.astype(np.float32)
    out = cv2.warpAffine(
        np.ascontiguousarray(source),
        matrix,
        (fine * width, fine * height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if fine > 1:
        out = cv2.resize(out, (width, height), interpolation=cv2.INTER_AREA)
    return out.reshape(height, width, *image.shape[2:]).astype(image.dtype, copy=False)
