"""A folder that machines share: what lies there is whole, and what is wrong with it is said in one line."""

import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyarrow.fs import FileType

from raynas_snn.core.errors import UserError
from raynas_snn.remote.storage import Storage, patiently


@pytest.fixture(params=["path", "url"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    there = tmp_path / "a b" / "store"
    return Storage(str(there) if request.param == "path" else there.as_uri()).folder("run")


def test_files_come_back_as_they_were_sent(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(b"\x00\xff" * 100_000)
    storage.upload(tmp_path / "here", "trials/p0/last.pt")
    storage.copy("trials/p0/last.pt", "trials/p0/before.pt")
    storage.write("a.json", b"{}")
    storage.write("a.json", b"[]")
    storage.download("trials/p0/before.pt", tmp_path / "new" / "folder" / "back")
    assert (tmp_path / "new" / "folder" / "back").read_bytes() == (tmp_path / "here").read_bytes()
    assert storage.read("a.json") == b"[]"
    assert storage.sizes() == {"a.json": 2, "trials/p0/before.pt": 200_000, "trials/p0/last.pt": 200_000}
    assert list(storage.sizes(recursive=False)) == ["a.json"]
    assert set(storage.sizes("trials")) == {"trials/p0/before.pt", "trials/p0/last.pt"}


def test_what_is_not_there_is_nothing(storage: Storage, tmp_path: Path) -> None:
    assert storage.read("a.json") is None
    assert storage.sizes() == {}
    storage.delete("a.json")
    with pytest.raises(OSError, match=r"a\.json"):
        storage.download("a.json", tmp_path / "a.json")
    assert not list(tmp_path.glob("*a.json*"))


def test_a_file_that_cannot_be_sent_leaves_the_old_one_and_nothing_else(storage: Storage, tmp_path: Path) -> None:
    storage.write("a.json", b"old")
    with pytest.raises(OSError, match="missing"):
        storage.upload(tmp_path / "missing", "a.json")
    assert storage.read("a.json") == b"old"
    folder = tmp_path / "a b" / "store" / "run"
    assert [path.name for path in folder.iterdir()] == ["a.json"]


@pytest.mark.parametrize("name", ["trials/p0/../../../x", "../x", "a//b", "./a", "a/.", "a\0b", ".."])
def test_names_that_lead_elsewhere_are_refused(storage: Storage, name: str) -> None:
    """Object stores take any name; here one stands in for them, because no folder does."""
    infos = [SimpleNamespace(path=f"bucket/run/{path}", type=FileType.File, size=1) for path in ("a", name)]
    storage.__dict__["_place"] = SimpleNamespace(get_file_info=lambda _: infos), "bucket/run"
    with pytest.raises(OSError, match="which cannot be the name of a file; delete it"):
        storage.sizes()


def test_names_that_are_no_text_are_refused(storage: Storage, tmp_path: Path) -> None:
    storage.write("a.json", b"")
    (tmp_path / "a b" / "store" / "run" / os.fsdecode(b"\xff")).touch()
    with pytest.raises(OSError, match="holds a file whose name is not UTF-8"):
        storage.sizes()


def test_no_more_is_read_than_a_reader_has_a_use_for(storage: Storage) -> None:
    storage.write("a.json", b"0123456789")
    assert storage.read("a.json", 10) == b"0123456789"
    with pytest.raises(OSError, match=r"a\.json: larger than"):
        storage.read("a.json", 9)


def test_checking_leaves_nothing_behind(storage: Storage) -> None:
    storage.check()
    assert storage.sizes() == {}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://id:secret@bucket/folder", "no credentials in the URL"),
        ("s3://id@bucket/folder", "no credentials in the URL"),
        ("s3://bucket/folder?secret_key=secret", "no credentials in the URL"),
        ("s3://bucket/folder?endpoint_override=http%3A%2F%2Fid%3Asecret%40host", "no credentials in the URL"),
        ("s3:bucket", "'s3:bucket' is no URL and no path"),
        ("ftp://host/folder", "cannot use ftp://host/folder: Unrecognized filesystem type"),
        ("s3://bucket/folder?endpoint=host", "cannot use s3://bucket/folder: Unexpected query parameter"),
        ("s3://[x", "'s3://[x' is no URL and no path: Invalid IPv6 URL"),
        ("~nobody-here/x", "'~nobody-here/x' is no URL and no path: Could not determine home directory"),
        ("", "no URL and no path; write s3://BUCKET/FOLDER or /FOLDER"),
        ("file:///a%00b", "no URL and no path"),
        ("hf://user/set", "cannot use hf://user/set: "),
        ("hdfs://localhost:1/folder", "cannot use hdfs://localhost:1/folder: "),
        ("viewfs://localhost:1/folder", "cannot use viewfs://localhost:1/folder: "),
        ("abfs://folder", "cannot use abfs://folder: "),
        ("s3://", "cannot use s3:"),
        ("/proc/folder", "cannot use /proc/folder: "),
    ],
)
def test_what_cannot_be_a_storage_is_refused_in_one_line_that_tells_no_secret(url: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        Storage(url).check()
    assert message in str(refused.value)
    assert "secret" not in str(refused.value).lower().replace("aws_secret_access_key", "")
    assert len(str(refused.value)) < 600


def test_a_relative_path_is_meant_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Storage("store").url == str(tmp_path / "store")


def test_a_storage_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it waits for ever, as a server that is gone makes one do
    monkeypatch.setattr("raynas_snn.remote.storage.ANSWER_SECONDS", 0.2)
    storage = Storage(str(tmp_path))
    monkeypatch.setattr(storage, "write", lambda _, data: (tmp_path / "pipe").write_bytes(data))
    with pytest.raises(UserError, match=r"no answer within 0\.2 s"):
        storage.check()
    with (tmp_path / "pipe").open("rb") as pipe:  # lets the thread go
        pipe.read()


def test_patience_ends() -> None:
    calls = []

    def fail_twice() -> int:
        calls.append(threading.get_ident())
        if len(calls) < 3:
            raise OSError("down")
        return len(calls)

    assert patiently(30, fail_twice) == 3
    with pytest.raises(OSError, match="down"):
        patiently(0, lambda: calls.clear() or fail_twice())
