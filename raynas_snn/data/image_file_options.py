"""The options of data sets that are made of image files."""

from typing import Literal

from pydantic import Field

from raynas_snn.core.options import Options


class ImageFileOptions(Options):
    """Options of ``folder`` and ``tiny_imagenet``."""

    image_size: int | None = Field(
        None, ge=4, le=1024, description="Side that images are scaled and cropped to; null keeps their size."
    )
    grayscale: bool = Field(False, description="Read images with one channel in place of three.")
    corrupt: Literal["skip", "error"] = Field(
        "skip", description="What to do with files that cannot be read; either way they are named."
    )
