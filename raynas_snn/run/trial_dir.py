"""The folder of one trial: its settings, learning curve, checkpoint and results."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raynas_snn.config.saved_settings import recorded_trial
from raynas_snn.config.schema import TrialConfig
from raynas_snn.core.errors import UserError
from raynas_snn.core.files import append_line, read_json, read_lines, write_text
from raynas_snn.core.scalars import Scalar, is_finite
from raynas_snn.core.untrusted_files import refuse_links

CurveRow = dict[str, Scalar | None]


@dataclass(frozen=True)
class TrialDir:
    """The folder of one trial. The properties are paths, which need not exist.

    Attributes:
        path: The folder; its name is the trial's uid.
    """

    path: Path

    @property
    def uid(self) -> str:
        """Name of the trial in its run."""
        return self.path.name

    @property
    def config(self) -> Path:
        """The trial's settings."""
        return self.path / "config.json"

    @property
    def result(self) -> Path:
        """The final metrics."""
        return self.path / "result.json"

    @property
    def curve(self) -> Path:
        """One row per epoch."""
        return self.path / "curve.csv"

    @property
    def genotype(self) -> Path:
        """The two cells that the search found."""
        return self.path / "genotype.json"

    @property
    def cells(self) -> Path:
        """A drawing of the two cells."""
        return self.path / "cells.svg"

    @property
    def checkpoint(self) -> Path:
        """The folder of the checkpoints from which the trial resumes."""
        return self.path / "checkpoint"

    @property
    def error(self) -> Path:
        """Traceback of the last failure."""
        return self.path / "error.txt"

    def create(self) -> "TrialDir":
        """Creates the folder if needed, and returns itself.

        Raises:
            UserError: If the folder, or anything in it, is a link: writes would then go elsewhere.
        """
        if self.path.is_symlink():
            raise UserError(f"{self.path}: a link; nothing in a run directory may lead out of it")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise UserError(f"{error.filename}: not a folder, but in its place; remove it") from None
        for folder in (self.path, self.checkpoint):
            refuse_links(folder)
        return self

    def has_begun(self) -> bool:
        """Whether a driver has started the trial."""
        return self.config.exists()

    def read_trial(self) -> TrialConfig | None:
        """The trial's settings, or None if there are none yet; raises `UserError` if they are invalid."""
        content = read_json(self.config)
        return None if content is None else recorded_trial(content, str(self.config))

    def read_result(self) -> dict[str, Any] | None:
        """The trial's result, or None if it has not ended; raises `UserError` if it is invalid."""
        result = read_json(self.result)
        if result is not None:
            metrics, epochs = result.get("metrics", {}), result.get("epochs")
            if not isinstance(metrics, dict) or not all(one is None or is_finite(one) for one in metrics.values()):
                raise UserError(f"{self.result}: 'metrics' must hold numbers")
            if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 0:
                raise UserError(f"{self.result}: 'epochs' must be a whole number")
            for name in ("error", "infeasible"):
                if not isinstance(result.get(name, ""), str):
                    raise UserError(f"{self.result}: {name!r} must be text")
        return result

    def append_curve(self, row: Mapping[str, Any]) -> None:
        """Adds one epoch to the learning curve and waits until it is on disk.

        The first row sets the columns; a later row that brings new ones widens the file.

        Args:
            row: Numbers and short texts; ``epoch`` counts from 1 over all phases. None and numbers that
                are not finite are kept as empty cells.
        """
        header = read_lines(self.curve, at_most=1)
        columns = self._parse(header[0], 1) if header else []
        new_columns = [name for name in row if name not in columns]
        if new_columns:
            self._rewrite_curve(columns + new_columns, [*self.read_curve(), row])
        else:
            append_line(self.curve, _format(row.get(name) for name in columns))

    def cut_curve(self, epoch: int) -> None:
        """Removes ``epoch`` and later ones from the learning curve, because they will be repeated."""
        header = read_lines(self.curve, at_most=1)
        kept = [row for row in self.read_curve() if int(str(row["epoch"])) < epoch]
        self._rewrite_curve(self._parse(header[0], 1) if header else [], kept)

    def read_curve(self) -> list[CurveRow]:
        """Returns the epochs in order, empty cells as None, texts that read as numbers as numbers.

        Raises:
            UserError: If a row does not fit the columns.
        """
        lines = read_lines(self.curve)
        if not lines:
            return []
        columns = self._parse(lines[0], 1)
        rows: list[CurveRow] = []
        for number, line in enumerate(lines[1:], start=2):
            cells = self._parse(line, number)
            if len(cells) != len(columns):
                raise UserError(f"{self.curve}, line {number}: {len(columns)} cells expected, {len(cells)} found")
            rows.append({name: _value(cell) for name, cell in zip(columns, cells, strict=True)})
        return rows

    def last_epoch(self) -> int:
        """The last epoch in the learning curve, 0 before the first; raises as `read_curve` does."""
        rows = self.read_curve()
        epoch = rows[-1].get("epoch") if rows else 0
        if not isinstance(epoch, int):
            raise UserError(f"{self.curve}: the last row has no epoch")
        return epoch

    def _parse(self, line: str, number: int) -> list[str]:
        try:
            return next(csv.reader([line], strict=True), [])
        except csv.Error as error:
            raise UserError(f"{self.curve}, line {number}: {error}") from None

    def _rewrite_curve(self, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
        lines = [_format(columns), *(_format(row.get(name) for name in columns) for row in rows)]
        write_text(self.curve, "".join(f"{line}\n" for line in lines))


def _format(values: Iterable[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([_cell(value) for value in values])
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return " ".join(str(value).split())  # a newline in a cell would split its line


def _value(cell: str) -> Scalar | None:
    try:
        number = float(cell)
    except ValueError:
        return cell or None
    if not math.isfinite(number):
        return None
    return int(cell) if cell.lstrip("+-").isdecimal() else number
