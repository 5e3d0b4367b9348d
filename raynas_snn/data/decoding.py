"""Decodes one image file to pixels; every fault of the file raises `UnreadableImageError`."""

import errno
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from raynas_snn.core.errors import UserError
from raynas_snn.core.text import visible
from raynas_snn.core.untrusted_files import UnfitFileError, read_bytes
from raynas_snn.interfaces.images import UInt8

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
LARGEST_FILE = 2**29  # bytes; far above any picture within Pillow's limit of pixels

# Only these: some of Pillow's other formats start programs, such as Ghostscript.
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
_BAD_NAMES = (errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR)  # links that go round, paths that cannot be
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadableImageError(Exception):
    """A file that is not an image or is damaged; the message gives the reason."""


def decode(path: Path, image_size: int | None, grayscale: bool) -> UInt8:
    """Reads an image as a viewer would show it: rotated upright, with transparent parts on white.

    Of 16 bits the upper 8 are kept, of an animation the first frame.

    Args:
        path: The file; its contents decide about the format, not its name.
        image_size: Side of a square: the shorter side is scaled to it and the middle cut out. None keeps the size.
        grayscale: One channel in place of three.

    Returns:
        ``[C, H, W]``.

    Raises:
        UnreadableImageError: If the file is not a valid image.
        UserError: If the disk cannot be read.
    """
    contents = _contents(path)
    try:
        with Image.open(io.BytesIO(contents), formats=_FORMATS) as image:
            # Checked before a pixel is decoded; Pillow itself only warns until it is twice as many.
            if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
                raise UnreadableImageError(f"{image.width}x{image.height} pixels are too many")
            image.load()  # the whole image, so that a missing end is noticed
            picture = _upright(_eight_bits(image), image).convert("L" if grayscale else "RGB")
        if image_size is not None:
            picture = ImageOps.fit(picture, (image_size, image_size), Image.Resampling.BILINEAR)
    except (UnreadableImageError, MemoryError):
        raise
    except UnidentifiedImageError:  # its message holds an address
        raise UnreadableImageError("not an image in a known format") from None
    except Exception as error:  # decoders raise anything: SyntaxError, struct.error, IndexError, zlib.error, ...
        reason = visible(" ".join(f"{error}".split()))[:200]
        raise UnreadableImageError(reason or type(error).__name__) from None
    pixels = np.asarray(picture)
    return pixels[None] if grayscale else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _contents(path: Path) -> bytes:
    """The bytes of a file, read apart from decoding: the errors of a disk are not those of an image."""
    try:
        contents = read_bytes(path, LARGEST_FILE)
    except OSError as error:
        if isinstance(error, (FileNotFoundError, PermissionError, UnfitFileError)) or error.errno in _BAD_NAMES:
            raise UnreadableImageError(str(error.strerror)) from None
        # Skipping it would train on other images whenever the disk is slow.
        raise UserError(f"data.root: {str(path)!r} cannot be read: {error.strerror}") from None
    if not contents:
        raise UnreadableImageError("the file is empty")
    return contents


def _eight_bits(image: Image.Image) -> Image.Image:
    """The image in a mode that converts to RGB or grey without surprises."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise UnreadableImageError("32 bits per channel, of which nobody knows what white is")
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured)
    return image


def _upright(picture: Image.Image, original: Image.Image) -> Image.Image:
    """Turns a picture as the EXIF data of the original says."""
    try:
        turn = _UPRIGHT.get(original.getexif().get(_ORIENTATION, 1))
    except Exception:  # invalid EXIF data; the pixels are fine
        return picture
    return picture if turn is None else picture.transpose(turn)
