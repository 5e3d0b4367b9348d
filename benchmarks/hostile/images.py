"""Malformed images, and folders and data sets of them."""

import contextlib
import functools
import io
import os
import pickle
from collections.abc import Mapping
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from hostile.inputs import TEXTS, Harm, damaged, lay_out, nonsense, plant, put
from hostile.place import Call, Place
from raynas_snn.config.schema import DataConfig
from raynas_snn.core.errors import UserError
from raynas_snn.interfaces.dataset import find_dataset


@functools.cache
def _images() -> tuple[bytes, ...]:
    noise = np.random.default_rng(0).integers(256, size=(12, 10, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    made = []
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", "WEBP"):
        for mode in ("RGB", "L", "P", "1", "RGBA", "CMYK", "LA", "I;16"):
            buffer = io.BytesIO()
            with contextlib.suppress(OSError, ValueError, KeyError):
                picture.convert("L" if mode == "I;16" else mode).convert(mode).save(buffer, kind)
                made.append(buffer.getvalue())
    for options in ({"compression": "tiff_lzw"}, {"compression": "jpeg"}, {"tiled": True}):
        buffer = io.BytesIO()
        with contextlib.suppress(OSError, ValueError):
            picture.save(buffer, "TIFF", **options)
            made.append(buffer.getvalue())
    return tuple(made)


def hostile_image(random: Random) -> bytes:
    return damaged(random, random.choice(_images()), _images()) if random.random() < 0.95 else nonsense(random)


def attack_image(random: Random, place: Place) -> Call:
    from raynas_snn.data.decoding import UnreadableImageError, decode

    path = place.folder / "a.png"
    path.write_bytes(hostile_image(random))
    if random.random() < 0.02:
        plant(random, path, place.outside)
    size, grayscale = random.choice((None, None, 4, 33)), random.random() < 0.3

    def call() -> object:
        try:
            return decode(path, size, grayscale)
        except UnreadableImageError as error:
            raise UserError(str(error)) if str(error).isprintable() else error from None

    return call


def attack_image_folder(random: Random, place: Place) -> Call:
    root = place.folder / "data"
    good = _images()[0]
    names = ["ant", "bee", *random.sample([text for text in TEXTS if _is_name(text)], random.randrange(3))]
    for name in names:
        for index in range(random.choice((5, 5, 5, 6, 1))):
            put(root / name / f"{index}.png", good)
    for _ in range(random.randrange(1, 4)):
        where = root / random.choice(names)
        name = random.choice([text for text in TEXTS if _is_name(text)])
        path = where / random.choice(("0.png", f"{name[:80]}.png", name, "deep/er/1.jpg"))
        with contextlib.suppress(OSError):  # a name that cannot be
            if random.random() < 0.4:
                plant(random, path, place.outside)
            else:
                put(path, hostile_image(random))
    if random.random() < 0.1:
        plant(random, random.choice((root, root / "ant", root / "train")), place.outside)
    settings: Mapping[str, Any] = {"image_size": random.choice((None, 8)), "corrupt": random.choice(("skip", "error"))}
    return _dataset("folder", DataConfig(name="folder", root=str(root), **settings))


def _is_name(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return (
            bool(text)
            and len(os.fsencode(text)) < 200
            and "/" not in text
            and "\0" not in text
            and text not in (".", "..")
        )
    return False


def _dataset(name: str, config: DataConfig) -> Call:
    """Reads a data set by its own functions; what goes around them would turn any exception into one line."""
    dataset = find_dataset(name)

    def call() -> object:
        dataset.files(config)
        dataset.skipped(config)
        return dataset.load(config).checked(name)

    return call


def attack_tiny_imagenet(random: Random, place: Place) -> Call:
    root, good = place.folder / "tiny-imagenet-200", _images()[0]
    ids = [b"n01", b"n02"]
    files = {f"train/{name.decode()}/images/{index}.JPEG": good for name in ids for index in range(2)}
    files |= {f"val/images/{index}.JPEG": good for index in range(2)}
    files |= {
        "wnids.txt": b"n01\nn02\n",
        "val/val_annotations.txt": b"0.JPEG\tn01\t0\t0\t1\t1\n1.JPEG\tn02\t0\t0\t1\t1\n",
    }
    name = random.choice(("wnids.txt", "val/val_annotations.txt", *files))
    files[name] = damaged(random, files[name]) if random.random() < 0.7 else nonsense(random)
    lay_out(root, files)
    if random.random() < 0.1:
        plant(random, root / random.choice(list(files)), place.outside)
    return _dataset("tiny_imagenet", DataConfig(name="tiny_imagenet", root=str(place.folder)))


def attack_cifar(random: Random, place: Place) -> Call:
    kind, name = random.choice((("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")))
    batch = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1], "fine_labels": [0, 1], "label_names": ["a"]}
    harmful = pickle.dumps(Harm(place.outside / "harm"))
    for file in find_dataset(kind).files(DataConfig(name=kind, root=str(place.folder))):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(random.choice((harmful, damaged(random, pickle.dumps(batch)))))
    if random.random() < 0.2:
        plant(random, random.choice(list((place.folder / name).iterdir())), place.outside)
    return _dataset(kind, DataConfig(name=kind, root=str(place.folder)))
