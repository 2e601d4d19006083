# SPDX-License-Identifier: Apache-2.0
"""Reading pictures of any kind as upright RGB."""

import os
import warnings

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps

from lipjax.errors import MediaError

MAX_PIXELS = 50_000_000
"""Pixels above which a picture is refused."""

_MID_GREY = (128, 128, 128)


def read_image(
    path: str | os.PathLike, *, max_pixels: int = MAX_PIXELS
) -> UInt8[np.ndarray, "H W 3"]:
    """Reads a picture as upright RGB.

    The camera's rotation tag is applied; transparency is laid over mid grey; grey, palette, CMYK
    and 16-bit pictures are converted; of an animation the first picture counts.

    Args:
        path: the file.
        max_pixels: larger pictures are refused before they are decoded.

    Returns:
        Pixels in [0, 255].

    Raises:
        MediaError: no such file, no picture, truncated, or too large.
    """
    name = os.fspath(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # checked here
            picture = Image.open(name)
        with picture:
            width, height = picture.size
            if width * height > max_pixels:
                raise MediaError(_too_large(name, f"{width} x {height}", max_pixels))
            return _rgb(ImageOps.exif_transpose(picture))
    except MediaError:
        raise
    except FileNotFoundError:
        raise MediaError(f"{name}: no such file") from None
    except Image.DecompressionBombError:
        raise MediaError(_too_large(name, "too many", max_pixels)) from None
    except Image.UnidentifiedImageError:
        raise MediaError(
            f"{name}: not a picture that can be read; save it as PNG or JPEG first"
        ) from None
    # Pillow's plugins raise all of these on damaged files.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError) as error:
        raise MediaError(f"{name}: the picture is damaged ({error})") from None


def _too_large(name: str, size: str, max_pixels: int) -> str:
    return (
        f"{name}: the picture has {size} pixels, more than the {max_pixels:,} allowed; "
        "scale it down first"
    )


def _rgb(picture: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
    if picture.mode.startswith("I"):  # 16 bits, or 32 of which such files use 16
        values = np.asarray(picture).astype(np.float64)
        grey = np.clip(np.rint(values / 257), 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if picture.mode == "F":
        values = np.nan_to_num(np.asarray(picture, np.float64))
        full = 1.0 if values.max(initial=0.0) <= 1.0 else 255.0
        grey = np.clip(np.rint(values * (255 / full)), 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (*_MID_GREY, 255))
        return np.asarray(Image.alpha_composite(ground, layer).convert("RGB"))
    return np.asarray(picture.convert("RGB"))


def to_pixels(video: Float[np.ndarray, "*T H W 3"]) -> UInt8[np.ndarray, "*T H W 3"]:
    """Maps floats in [-1, 1] to uint8 pictures; what lies outside is clipped."""
    return np.clip(np.round((video + 1.0) * 127.5), 0, 255).astype(np.uint8)
