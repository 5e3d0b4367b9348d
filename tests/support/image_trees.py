"""Real image files for tests, in folders."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_image(path: Path, shade: int = 100, size: tuple[int, int] = (19, 13)) -> None:
    """Writes a noisy image of a general shade; ``size`` is width and height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.name) + shade).integers(-20, 20, size=(size[1], size[0], 3))
    Image.fromarray((noise + shade).astype(np.uint8)).save(path, "JPEG" if path.suffix.lower() == ".jpeg" else "PNG")


def write_split(root: Path, train: int = 6, test: int = 2, held_out: str = "test") -> Path:
    """Three classes in train/ and test/, told apart by their shades."""
    for label, name in enumerate(("ant", "bee", "cat")):
        for part, number in (("train", train), (held_out, test)):
            for index in range(number):
                write_image(root / part / name / f"{index:03}.png", shade=40 + 80 * label)
    return root


def cut_off(path: Path) -> None:
    """Cuts off the end of an image."""
    path.write_bytes(path.read_bytes()[:-40])
