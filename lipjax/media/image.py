# SPDX-License-Identifier: Apache-2.0
"""Reading pictures of any kind as upright RGB."""

import io
import os
import warnings

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps

from lipjax.errors import MediaError
from lipjax.media.limits import MAX_PIXELS, MAX_SIDE

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "AVIF", "PPM", "TGA")
"""Pillow's names of the formats that are read; some others run programs or unpack anything."""

MAX_SCANS = 500
"""Passes of a progressive JPEG; a hundred bytes can ask for one more pass over all pixels."""

MAX_FRAME_PIXELS = 1 << 24
"""Pixels of a picture within a corpus, whose pictures are small."""

_SCAN = b"\xff\xda"
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

    Example:
        >>> picture = lipjax.read_image("mouth.png")
        >>> picture.shape, picture.dtype.name
        ((64, 64, 3), 'uint8')
    """
    name = os.fspath(path)
    if not os.path.isfile(name):  # nor a pipe, which would never end
        raise MediaError(f"{name}: no such file")
    try:
        picture = _opened(name)
        with picture:
            width, height = picture.size
            if width * height > max_pixels or max(width, height) > MAX_SIDE:
                raise MediaError(_too_large(name, f"{width} x {height}", max_pixels))
            if picture.format in ("JPEG", "MPO") and _scans(name) > MAX_SCANS:
                raise MediaError(f"{name}: a JPEG of more than {MAX_SCANS} scans is not read")
            return _rgb(ImageOps.exif_transpose(picture))
    except MediaError:
        raise
    except Image.DecompressionBombError:
        raise MediaError(_too_large(name, "too many", max_pixels)) from None
    except Image.UnidentifiedImageError:
        raise MediaError(
            f"{name}: not a picture that can be read; save it as PNG or JPEG first"
        ) from None
    except Exception as error:  # noqa: BLE001  Pillow's plugins raise anything on damaged files
        raise MediaError(f"{name}: the picture is damaged ({error})") from None


def _opened(name: str) -> Image.Image:
    """The file as a picture whose pixels are not decoded yet."""
    Image.init()
    known = [form for form in FORMATS if form in Image.OPEN]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # checked by the caller
        return Image.open(name, formats=known)


def _scans(name: str) -> int:
    """Starts of scans in a JPEG file; the coded pixels cannot hold the marker by chance."""
    count, last = 0, b""
    with open(name, "rb") as file:
        while block := file.read(1 << 20):
            count += (last + block).count(_SCAN)
            last = block[-1:]
    return count


def _too_large(name: str, size: str, max_pixels: int) -> str:
    return (
        f"{name}: the picture has {size} pixels, more than the {max_pixels:,} allowed; "
        "scale it down first"
    )


def _rgb(picture: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
    if picture.mode.startswith("I"):  # 16 bits, or 32 of which such files use 16
        return _grey(np.array(picture, np.float32), 1 / 257)
    if picture.mode == "F":
        values = np.nan_to_num(np.asarray(picture, np.float32))
        return _grey(values, 255.0 if values.max(initial=0.0) <= 1.0 else 1.0)
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (*_MID_GREY, 255))
        return np.asarray(Image.alpha_composite(ground, layer).convert("RGB"))
    return np.asarray(picture.convert("RGB"))


def _grey(values: np.ndarray, scale: float) -> UInt8[np.ndarray, "H W 3"]:
    """Grey values times a factor as RGB; `values` is overwritten."""
    values *= np.float32(scale)
    grey = np.clip(np.rint(values, out=values), 0, 255, out=values).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def decode_jpeg(data: bytes, *, max_pixels: int = MAX_FRAME_PIXELS) -> UInt8[np.ndarray, "H W 3"]:
    """Decodes a JPEG file that lies in memory.

    Args:
        data: the file.
        max_pixels: a larger picture is refused before it is decoded.

    Raises:
        ValueError: it is no JPEG, damaged or too large; nothing else is raised.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
            width, height = picture.size
            if width * height > max_pixels or data.count(_SCAN) > MAX_SCANS:
                raise ValueError(f"a JPEG of {width} x {height} pixels, {data.count(_SCAN)} scans")
            return np.asarray(picture.convert("RGB"))
    except ValueError:
        raise
    except Exception as error:  # noqa: BLE001  as above
        raise ValueError(str(error)) from error


def to_pixels(video: Float[np.ndarray, "*T H W 3"]) -> UInt8[np.ndarray, "*T H W 3"]:
    """Maps floats in [-1, 1] to uint8 pictures; what lies outside is clipped."""
    return np.clip(np.round((video + 1.0) * 127.5), 0, 255).astype(np.uint8)
