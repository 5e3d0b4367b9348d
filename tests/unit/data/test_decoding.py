"""One image file to pixels, in all the ways that images are stored and damaged."""

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from properties import examples

from raynas_snn.data.decoding import SUFFIXES, UnreadableImageError, decode

GRADIENT = np.stack(np.broadcast_arrays(np.arange(0, 240, 12)[:, None], np.arange(0, 240, 8)[None], 90), -1)
GRADIENT = GRADIENT.astype(np.uint8)  # [20, 30, 3], red grows downwards, green to the right


def saved(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def picture() -> Image.Image:
    return Image.fromarray(GRADIENT)


def pixels(path: Path, **options) -> np.ndarray:
    return decode(path, **{"image_size": None, "grayscale": False} | options)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_known_suffix_is_read(tmp_path, suffix):
    grey = suffix == ".pgm"
    image = picture().convert("L") if grey else picture()
    read = pixels(saved(tmp_path / f"a{suffix}", image)).astype(int)
    assert read.shape == (3, 20, 30)
    assert np.abs(read - np.asarray(image.convert("RGB")).transpose(2, 0, 1)).mean() < 12  # lossy ones are near


def test_lossless_images_are_exact(tmp_path):
    path = saved(tmp_path / "a.png", picture())
    assert np.array_equal(pixels(path), GRADIENT.transpose(2, 0, 1))
    grey = pixels(path, grayscale=True)
    assert np.array_equal(grey, np.asarray(picture().convert("L"))[None])
    assert grey.dtype == np.uint8


def test_the_contents_decide_not_the_name(tmp_path):
    picture().save(tmp_path / "a.png", format="JPEG")
    assert pixels(tmp_path / "a.png").shape == (3, 20, 30)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("grayscale", [False, True])
def test_every_mode_has_the_channels_asked_for(tmp_path, mode, grayscale):
    path = saved(tmp_path / "a.tiff", picture().convert(mode))
    read = pixels(path, grayscale=grayscale)
    assert read.shape == (1 if grayscale else 3, 20, 30)
    if mode in ("RGBA", "YCbCr", "L"):
        expected = picture().convert(mode).convert("L" if grayscale else "RGB")
        assert np.abs(read - np.atleast_3d(np.asarray(expected)).transpose(2, 0, 1).astype(int)).max() <= 1


def test_cmyk_jpegs_keep_their_colours(tmp_path):
    read = pixels(saved(tmp_path / "a.jpg", Image.new("RGB", (16, 16), "red").convert("CMYK")))
    assert read.mean(axis=(1, 2)) == pytest.approx([255, 0, 0], abs=4)


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_of_16_bits_the_upper_8_are_kept(tmp_path, suffix):
    deep = (np.arange(12).reshape(3, 4) * 5461).astype(np.uint16)
    path = tmp_path / f"a.{suffix}"
    if suffix == "pgm":
        path.write_bytes(b"P5 4 3 65535\n" + deep.astype(">u2").tobytes())
    else:
        Image.fromarray(deep).save(path)
    assert np.array_equal(pixels(path), np.repeat((deep >> 8)[None], 3, axis=0))


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_32_bits_have_no_white(tmp_path, dtype):
    path = saved(tmp_path / "a.tiff", Image.fromarray(np.ones((3, 4), dtype)))
    with pytest.raises(UnreadableImageError, match="nobody knows what white is"):
        pixels(path)


def test_what_is_transparent_is_white(tmp_path):
    clear = np.zeros((4, 4, 4), np.uint8)
    clear[0, 0] = (10, 20, 30, 255)
    expected = np.full((3, 4, 4), 255)
    expected[:, 0, 0] = (10, 20, 30)
    assert np.array_equal(pixels(saved(tmp_path / "a.png", Image.fromarray(clear))), expected)
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([10, 20, 30, 0, 0, 0])
    palette.putpixel((0, 0), 0)
    assert np.array_equal(pixels(saved(tmp_path / "b.png", palette, transparency=bytes([255, 0]))), expected)


@pytest.mark.parametrize(
    ("suffix", "orientation"), [*(("png", orientation) for orientation in range(1, 9)), ("tiff", 6), ("jpg", 6)]
)
def test_pictures_stand_upright(tmp_path, suffix, orientation):
    lying = {
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }.get(orientation, lambda a: a)(GRADIENT)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(np.ascontiguousarray(lying)), exif=exif)
    assert np.abs(pixels(path).astype(int) - GRADIENT.transpose(2, 0, 1)).mean() < 6


def test_garbled_exif_data_spoils_no_pixels(tmp_path):
    path = saved(tmp_path / "a.jpg", picture(), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\xff" * 9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert pixels(path).shape == (3, 20, 30)


def test_the_first_frame_of_an_animation_counts(tmp_path):
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "blue")]
    path = saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert pixels(path)[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("size", [4, 20, 33])
def test_the_shorter_side_is_scaled_and_the_middle_cut_out(tmp_path, size):
    path = saved(tmp_path / "a.png", picture())
    read = pixels(path, image_size=size)
    assert read.shape == (3, size, size)
    # 20 of 30 columns are left, from the fifth on; green is 8 times the column
    green = read[1].astype(float)
    assert green.mean() == pytest.approx(8 * 14.5, abs=2)
    assert green[:, -1].mean() - green[:, 0].mean() == pytest.approx(8 * (20 - 20 / size), abs=12)
    if size == 20:
        assert np.array_equal(read, GRADIENT.transpose(2, 0, 1)[:, :, 5:25])


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_extreme_shapes_are_scaled_too(tmp_path, size):
    assert pixels(saved(tmp_path / "a.png", Image.new("RGB", size)), image_size=8).shape == (3, 8, 8)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "gif", "tiff", "ppm"])
def test_a_cut_off_image_is_noticed(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(256, size=(40, 40, 3), dtype=np.uint8)
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(noise))
    whole = path.read_bytes()
    for share in (0.02, 0.3, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(UnreadableImageError) as refused:
            pixels(path)
        assert str(refused.value)
        assert "0x" not in str(refused.value)


def png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in (header, data)
    )


@pytest.mark.parametrize("side", [10_000, 100_000])
def test_a_bomb_does_not_go_off(tmp_path, side):
    (tmp_path / "a.png").write_bytes(png_header(side, side))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UnreadableImageError, match=r"too many|exceeds limit"):
            pixels(tmp_path / "a.png")


def test_files_that_are_none(tmp_path):
    path = tmp_path / "a.png"
    with pytest.raises(UnreadableImageError, match="No such file"):
        pixels(path)
    path.write_bytes(b"")
    with pytest.raises(UnreadableImageError, match="the file is empty"):
        pixels(path)
    path.write_text("a text")
    with pytest.raises(UnreadableImageError, match=r"^not an image in a known format$"):
        pixels(path)
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")  # would start Ghostscript
    with pytest.raises(UnreadableImageError, match=r"^not an image in a known format$"):
        pixels(path)
    with pytest.raises(UnreadableImageError, match="Is a directory"):
        pixels(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")  # reading it would wait for ever
    with pytest.raises(UnreadableImageError, match="not a regular file"):
        pixels(tmp_path / "pipe.png")
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(2**30)  # takes no room on the disk
    with pytest.raises(UnreadableImageError, match="larger than 512 MiB"):
        pixels(tmp_path / "large.png")


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    picture().save(buffer, kind)
    return buffer.getvalue()


WHOLE = [encoded(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM")]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("images") / "a.png"


@examples(120)
@given(st.binary(max_size=200) | st.tuples(st.sampled_from(WHOLE), st.integers(0, 400), st.binary(max_size=12)))
def test_any_bytes_are_an_image_or_unreadable(file, content):
    if isinstance(content, tuple):
        whole, position, damage = content
        content = whole[:position] + damage + whole[position + len(damage) :]
    file.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            reason = None
            assert pixels(file).ndim == 3
        except UnreadableImageError as error:
            reason = str(error)
    assert reason is None or (reason and "\n" not in reason)
