"""Augmentation of whole batches on the training device, without a Python loop over images."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """What is done to each training image at random.

    Attributes:
        crop_padding: Shifts by up to this many pixels each way; the uncovered border is black.
        flip: Mirrors left and right half of the time.
        cutout: Side of a square set to the mean (DeVries & Taylor 2017), anywhere in the image; 0 for none.
    """

    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0


@dataclass(frozen=True)
class Draws:
    """Random numbers for one batch. Every worker draws them for the whole batch and takes its share."""

    offsets: Tensor  # [N, 2] top left corner of the crop in the padded image
    mirrored: Tensor  # [N] bool
    centres: Tensor  # [N, 2] of the cutout

    @classmethod
    def draw(
        cls, number: int, augmentation: Augmentation, size: tuple[int, int], generator: torch.Generator
    ) -> "Draws":
        """Draws for ``number`` images of ``size`` (height, width) on the generator's device."""
        device = generator.device
        reach = 2 * augmentation.crop_padding + 1
        rows, columns = torch.rand((number, 2), generator=generator, device=device).unbind(dim=1)
        return cls(
            torch.randint(reach, (number, 2), generator=generator, device=device),
            torch.rand(number, generator=generator, device=device) < (0.5 if augmentation.flip else 0.0),
            torch.stack((rows * size[0], columns * size[1]), dim=1).long(),  # no tensor of sizes: the host would wait
        )

    def __getitem__(self, which: slice) -> "Draws":
        return Draws(self.offsets[which], self.mirrored[which], self.centres[which])


def augment(images: Tensor, augmentation: Augmentation, draws: Draws) -> Tensor:
    """Crops and mirrors uint8 ``images [N, C, H, W]``; cutout comes after normalisation, see `cut_out`."""
    number, _, height, width = images.shape
    padding = augmentation.crop_padding
    if not padding and not augmentation.flip:
        return images
    columns = torch.arange(width, device=images.device).expand(number, width)
    columns = torch.where(draws.mirrored[:, None], width - 1 - columns, columns) + draws.offsets[:, 1:]
    rows = torch.arange(height, device=images.device) + draws.offsets[:, :1]
    padded = F.pad(images, (padding, padding, padding, padding)) if padding else images
    example = torch.arange(number, device=images.device)[:, None, None]
    # advanced indices around a slice come first: [N, H, W, C]
    return padded[example, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cut_out(images: Tensor, augmentation: Augmentation, draws: Draws) -> Tensor:
    """Sets a square of normalised ``images [N, C, H, W]`` to zero, the mean; it may reach over the border."""
    if not augmentation.cutout:
        return images
    inside = []
    for axis, size in enumerate(images.shape[2:]):
        distance = torch.arange(size, device=images.device) - draws.centres[:, axis, None]
        half = augmentation.cutout // 2
        inside.append((distance >= -half) & (distance < augmentation.cutout - half))
    rows, columns = inside
    return images * ~(rows[:, None, :, None] & columns[:, None, None, :])
