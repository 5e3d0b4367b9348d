"""Where a sweep's words go, also when nobody is there to read them."""

import os
import pty

from raynas_snn.cluster.driver.output import output_to, own_stream


def test_words_for_a_reader_who_has_left_are_lost_and_nothing_else():
    for make in (os.pipe, pty.openpty):
        read, write = make()
        saved = os.dup(1)
        os.dup2(write, 1)
        try:
            stream = own_stream(stderr=False)
        finally:
            os.dup2(saved, 1)
            os.close(saved)
            os.close(write)
        with stream:
            print("heard", file=stream)
            assert os.read(read, 100).strip() == b"heard"
            os.close(read)
            for _ in range(3):
                print("unheard", file=stream)


def test_output_goes_to_a_file_and_own_words_do_not(tmp_path, capfd):
    with own_stream(stderr=False) as own, output_to(tmp_path / "log"):
        os.write(1, b"from C\n")
        os.write(2, b"an error\n")
        print("ours", file=own)
    os.write(1, b"after\n")
    assert (tmp_path / "log").read_text() == "from C\nan error\n"
    assert capfd.readouterr().out == "ours\nafter\n"
