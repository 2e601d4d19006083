# SPDX-License-Identifier: Apache-2.0
"""Pictures of every kind come out as upright RGB."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from lipjax.errors import MediaError
from lipjax.media.image import read_image

_RAMP = np.linspace(0, 255, 32 * 24).astype(np.uint8).reshape(24, 32)
_RGB = np.stack([_RAMP, _RAMP[::-1], _RAMP[:, ::-1]], axis=-1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    stored = np.zeros((24, 32, 3), np.uint8)
    stored[:12, :16] = 255  # bright in the first rows and first columns as stored
    picture = Image.fromarray(stored)
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.jpg", exif=exif, quality=95)
    image = read_image(tmp_path / "a.jpg")
    assert image.shape == ((24, 32, 3) if orientation < 5 else (32, 24, 3))
    height, width = image.shape[0] // 2, image.shape[1] // 2
    bright = image.reshape(2, height, 2, width, 3).mean(axis=(1, 3, 4)) > 128
    # EXIF 2.3: where row 0 and column 0 of the stored picture are seen.
    corner = {
        1: (0, 0),  # top, left
        2: (0, 1),  # top, right
        3: (1, 1),  # bottom, right
        4: (1, 0),  # bottom, left
        5: (0, 0),  # left, top
        6: (0, 1),  # right, top
        7: (1, 1),  # right, bottom
        8: (1, 0),  # left, bottom
    }[orientation]
    assert bright.sum() == 1 and bright[corner]


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.webp"])
def test_colours_are_kept(tmp_path, name):
    options = {"lossless": True} if name.endswith("webp") else {}
    Image.fromarray(_RGB).save(tmp_path / name, **options)
    image = read_image(tmp_path / name)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, _RGB)


def test_transparency_is_laid_over_mid_grey(tmp_path):
    rgba = np.concatenate([_RGB, np.full((24, 32, 1), 255, np.uint8)], axis=-1)
    rgba[:, 16:, 3] = 0
    rgba[:12, :16, 3] = 128
    Image.fromarray(rgba).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png").astype(float)
    assert np.all(image[:, 16:] == 128)
    np.testing.assert_array_equal(image[12:, :16], _RGB[12:, :16])
    np.testing.assert_allclose(image[:12, :16], (_RGB[:12, :16] + 127.0) / 2, atol=1.5)
    grey = Image.fromarray(np.stack([_RAMP, np.zeros_like(_RAMP)], axis=-1), mode=None)
    grey.save(tmp_path / "b.png")
    assert np.all(read_image(tmp_path / "b.png") == 128)
    palette = Image.fromarray(_RGB).quantize(8)
    palette.save(tmp_path / "c.png", transparency=palette.getpixel((0, 0)))
    assert np.all(read_image(tmp_path / "c.png")[0, 0] == 128)


def test_grey_palette_one_bit_and_cmyk(tmp_path):
    Image.fromarray(_RAMP).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.dstack([_RAMP] * 3))
    Image.fromarray(_RAMP > 100).save(tmp_path / "bit.png")
    np.testing.assert_array_equal(read_image(tmp_path / "bit.png")[..., 0], (_RAMP > 100) * 255)
    palette = Image.fromarray(_RGB).quantize(16)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), palette.convert("RGB"))
    Image.fromarray(_RGB).convert("CMYK").save(tmp_path / "cmyk.tiff")
    assert np.abs(read_image(tmp_path / "cmyk.tiff").astype(int) - _RGB).max() <= 2


def test_sixteen_bits_and_floats(tmp_path):
    for name in ("a.png", "a.tiff"):
        Image.fromarray(_RAMP.astype(np.uint16) * 257).save(tmp_path / name)
        np.testing.assert_array_equal(read_image(tmp_path / name), np.dstack([_RAMP] * 3))
    Image.fromarray(_RAMP.astype(np.float32) / 255).save(tmp_path / "f.tiff")
    np.testing.assert_array_equal(read_image(tmp_path / "f.tiff")[..., 0], _RAMP)


def test_first_picture_of_an_animation_counts(tmp_path):
    pictures = [Image.new("RGB", (8, 8), c) for c in ("red", "blue")]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:])
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif")[4, 4], (255, 0, 0))


def _declared(width, height):
    """A PNG of a few bytes that declares any size."""
    png = b"\x89PNG\r\n\x1a\n"
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    for body in (b"IHDR" + size, b"IDAT" + zlib.compress(bytes(10)), b"IEND"):
        png += struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png


@pytest.mark.parametrize("side", [8000, 12_000, 60_000])
def test_huge_pictures_are_refused_before_decoding(tmp_path, side):
    (tmp_path / "a.png").write_bytes(_declared(side, side))
    with pytest.raises(MediaError, match="50,000,000 allowed"):
        read_image(tmp_path / "a.png")


def test_errors_name_the_file(tmp_path):
    Image.fromarray(_RGB).save(tmp_path / "a.png")
    with pytest.raises(MediaError, match="32 x 24"):
        read_image(tmp_path / "a.png", max_pixels=700)
    with pytest.raises(MediaError, match="no such file"):
        read_image(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(MediaError, match="text.png"):
        read_image(tmp_path / "text.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(MediaError, match="empty.png"):
        read_image(tmp_path / "empty.png")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for name in ("b.png", "b.jpg"):
        Image.fromarray(noise).save(tmp_path / name)
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(MediaError, match=name):
            read_image(tmp_path / name)
    with pytest.raises(MediaError, match=str(tmp_path.name)):
        read_image(tmp_path)
