"""Files that survive a crash at any instant."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import examples

from raynas_snn.core import files
from raynas_snn.core.errors import StorageFault, UserError


def test_a_failed_replacement_leaves_the_old_text_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    files.write_text(path, "old")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(
        StorageFault, match=r"a.json: No space left on device; free some and run the same command again"
    ):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_short_append_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines"
    files.append_line(path, "one")
    whole_write = files.os.write

    def full_disk(descriptor: int, data: bytes) -> int:
        if len(data) < len(b"two\n"):
            raise OSError(28, "No space left on device")
        return whole_write(descriptor, data[:2])

    monkeypatch.setattr(files.os, "write", full_disk)
    with pytest.raises(StorageFault, match=r"lines: No space left on device"):
        files.append_line(path, "two")
    assert path.read_text() == "one\n"


@examples(50)
@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\n", codec="utf-8")), max_size=6), cut=st.integers(0, 40)
)
def test_a_torn_line_is_ignored_then_mended(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], cut: int
) -> None:
    path = tmp_path_factory.mktemp("torn") / "lines"
    for line in lines:
        files.append_line(path, line)
    data = path.read_bytes() if lines else b""
    path.write_bytes(data[: max(0, len(data) - cut)])  # cuts characters in two as well
    whole = data[: max(0, len(data) - cut)].count(b"\n")
    assert files.read_lines(path) == lines[:whole]
    files.append_line(path, "next")
    assert files.read_lines(path) == [*lines[:whole], "next"]


def test_a_torn_line_longer_than_a_block_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("one\n" + "x" * 10_000)
    files.append_line(path, "two")
    assert path.read_text() == "one\ntwo\n"


def test_text_that_is_not_text_can_be_written(tmp_path: Path) -> None:
    files.write_text(tmp_path / "error.txt", "no such file: \udc80")
    assert files.read_text(tmp_path / "error.txt") == "no such file: \\udc80"


def test_json_holds_no_nan(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"a": [float("nan"), 1.5], "b": {"c": float("inf")}})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [None, 1.5], "b": {"c": None}}


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"{", "not JSON"), (b"[]", "expected a JSON object"), (b"\xff", "not UTF-8"), (b"[" * 10**5, "not JSON")],
)
def test_garbled_json_is_one_line(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(UserError, match=message) as caught:
        files.read_json(path)
    assert str(path) in str(caught.value)


def test_a_folder_in_place_of_a_file_is_one_line(tmp_path: Path) -> None:
    for read in (files.read_text, files.read_lines):
        with pytest.raises(UserError, match="directory"):
            read(tmp_path)


@pytest.mark.parametrize(("text", "first"), [("one\ntwo\n", ["one"]), ("one\ntw", ["one"]), ("on", []), ("", [])])
def test_the_first_line_can_be_read_alone(tmp_path: Path, text: str, first: list[str]) -> None:
    path = tmp_path / "lines"
    path.write_text(text)
    assert files.read_lines(path, at_most=1) == first
