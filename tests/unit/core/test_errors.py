"""What the system says of a disk becomes one line; what is no fault of a disk stays what it is."""

import errno
import os
import pickle
from pathlib import Path

import pytest
import torch

from raynas_snn.cli import run_verb
from raynas_snn.core.errors import EXIT_FAILURE, StorageFault, UserError, storage_fault, writing_to
from raynas_snn.interfaces.trial import TrialCrash
from raynas_snn.training.out_of_memory import is_out_of_memory, memory_advice


def test_whatever_is_quoted_the_message_is_one_line():
    assert str(UserError("two\nlines, \x1b[2J")) == "two lines, \\x1b[2J"


def system(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


@pytest.mark.parametrize(
    ("number", "mend"), [(errno.ENOSPC, "free some"), (errno.EDQUOT, "free some"), (errno.EROFS, "mend that")]
)
def test_a_disk_that_takes_no_more_is_a_fault_wherever_it_is_said(number, mend):
    fault = storage_fault(system(number, "/disk/file"), "elsewhere")
    assert str(fault) == f"/disk/file: {os.strerror(number)}; {mend} and run the same command again"
    assert str(storage_fault(system(number), "elsewhere")).startswith("elsewhere: ")
    assert str(pickle.loads(pickle.dumps(fault))) == str(fault)


def test_missing_permission_is_a_fault_only_where_we_write():
    for number in (errno.EACCES, errno.EIO, errno.ESTALE):
        assert storage_fault(system(number), "data") is None
        with (
            pytest.raises(StorageFault, match=r"^run/trials.jsonl: .*; mend that"),
            writing_to(Path("run/trials.jsonl")),
        ):
            raise system(number)
    with pytest.raises(FileNotFoundError), writing_to(Path("run/trials.jsonl")):
        Path("/there/is/no/such/folder/file").touch()


def test_what_libraries_wrap_is_found(tmp_path):
    class FullDisk:
        def write(self, data: bytes) -> int:
            raise system(errno.ENOSPC)

    with pytest.raises(StorageFault, match=r"last.pt: No space left"), writing_to(tmp_path / "last.pt"):
        torch.save({"large": torch.zeros(100_000)}, FullDisk())  # torch complains of a position


def test_a_fault_of_the_disk_has_an_exit_code_of_its_own(capsys):
    def verb(arguments):
        raise StorageFault("run: No space left on device")

    assert run_verb(verb, []) == EXIT_FAILURE
    assert capsys.readouterr().err == "error: run: No space left on device\n"


def test_memory_that_is_not_there_is_known_whoever_says_it():
    for allocate in (lambda: torch.empty(2**45), lambda: bytearray(2**50)):
        with pytest.raises(
            TrialCrash, match=r"^out of memory on the CPU in epoch 2 of search: a smaller search.batch_"
        ):
            advised(allocate, "epoch 2 of search", "search")
    on_gpu = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nGPU 0 has a total capacity")
    with pytest.raises(TrialCrash, match=r"on the GPU in epoch 1 of retrain: .* retrain.recompute=true .*20.00 GiB"):
        advised(raising(on_gpu), "epoch 1 of retrain", "retrain")
    for other in (RuntimeError("shapes do not match"), system(errno.ENOSPC), ValueError("out of memory")):
        assert not is_out_of_memory(other)
        with pytest.raises(type(other)):
            advised(raising(other), "epoch 1 of search", "search")


def advised(body, where, section):
    with memory_advice(where, section):
        body()


def raising(error):
    def body():
        raise error

    return body
