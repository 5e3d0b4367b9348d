"""A storage whose process dies before one of its operations."""

from pathlib import Path

from raynas_snn.remote.storage import Storage


class Killed(BaseException):
    """Nothing that the process would have done happens any more."""


class MortalStorage(Storage):
    """Dies before operation number ``life``, counted from 0; the file system behind it is real."""

    def __init__(self, url: str, life: int) -> None:
        super().__init__(url)
        self.life = life

    def _live(self) -> None:
        if self.life <= 0:
            raise Killed
        self.life -= 1

    def folder(self, name: str) -> "MortalStorage":
        inner = MortalStorage(self.url, self.life)
        inner._below = f"{self._below}/{name}"
        return inner

    def write(self, path: str, data: bytes) -> None:
        self._live()
        super().write(path, data)

    def upload(self, source: Path, path: str) -> None:
        self._live()
        super().upload(source, path)

    def copy(self, path: str, to: str) -> None:
        self._live()
        super().copy(path, to)

    def delete(self, path: str) -> None:
        self._live()
        super().delete(path)

    def download(self, path: str, target: Path) -> None:
        self._live()
        super().download(path, target)
