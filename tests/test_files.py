import errno
import os
import pickle

import numpy as np
import pytest

from matting_jax.files import (
    WriteError,
    append,
    write_atomically,
    write_folder_atomically,
    writing,
)
from matting_jax.workdir.writer import Writer
from tests.limits import file_limit

FULL = "the disk is full: free some space and run the command again"
ERRORS = {  # of Python, of libraries in other languages, and of a limit
    OSError(errno.ENOSPC, "No space left on device"): FULL,
    OSError(errno.EDQUOT, "Disk quota exceeded"): FULL,
    RuntimeError("Error while serializing: No space left on device (os error 28)"): FULL,
    OSError(errno.EFBIG, "File too large"): "larger than its file system, or ulimit -f, allows",
}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: str(error)[:20])
def test_full_disk_is_reported_with_the_path_and_leaves_the_earlier_file(error, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("earlier")
    with pytest.raises(WriteError) as caught, write_atomically(path) as file:
        file.write_text("half")
        raise error
    assert str(caught.value).startswith(f"cannot write {path}: ")
    assert ERRORS[error] in str(caught.value)
    assert os.listdir(tmp_path) == ["a.txt"] and path.read_text() == "earlier"


def test_other_errors_stay_what_they_are(tmp_path):
    for error in (ValueError("no"), OSError(errno.EIO, "broken", "/another/file"), KeyError("a")):
        with pytest.raises(type(error)) as caught, write_atomically(tmp_path / "a") as file:
            file.write_text("half")
            raise error
        assert caught.value is error
    assert not os.listdir(tmp_path)


def test_file_in_the_place_of_a_folder_is_reported_with_the_path(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "a.txt"
    with pytest.raises(WriteError, match=f"cannot write {path}: .*/file is a file, not"):
        with write_atomically(path):
            pass


def test_folder_is_reported_by_its_own_name_for_a_file_in_it(tmp_path):
    with pytest.raises(WriteError) as caught, write_folder_atomically(tmp_path / "out") as folder:
        with write_atomically(folder / "tiles" / "a.png") as file:
            file.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")
    assert str(caught.value) == f"cannot write {tmp_path / 'out'}: {FULL}"
    assert not os.listdir(tmp_path)


def test_error_of_another_process_arrives(tmp_path):
    error = pickle.loads(pickle.dumps(WriteError(tmp_path, FULL)))
    assert (error.path, error.reason) == (tmp_path, FULL) and FULL in str(error)


def test_line_that_does_not_fit_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "lines"
    append(path, b"first\n")
    with file_limit(9), pytest.raises(WriteError, match=f"cannot write {path}"):
        append(path, b"second\n")
    assert path.read_bytes() == b"first\n"


def test_logs_of_a_run_that_do_not_fit_stay_whole(tmp_path):
    writer = Writer(tmp_path, -1)
    writer.scalars(1, {"loss": 1})
    files = [writer.lines, writer.events.path]
    kept = [path.read_bytes() for path in files]
    with file_limit(len(kept[0]) + 9), pytest.raises(WriteError, match="metrics.jsonl"):
        writer.scalars(2, {"loss": 1, "a term of the loss": 1, "another": 1})
    assert [path.read_bytes() for path in files] == kept
    with file_limit(len(kept[1]) + 9), pytest.raises(WriteError, match="events.out"):
        writer.scalars(2, {"loss": 1})
    assert len(writer.lines.read_text().splitlines()) == 2
    assert writer.events.path.read_bytes() == kept[1]
    with file_limit(200), pytest.raises(WriteError, match="step_000003.png"):
        writer.preview(3, np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    assert not os.listdir(tmp_path / "previews")


def test_writing_reports_what_lies_below_the_path_only(tmp_path):
    with pytest.raises(WriteError, match="no such file"), writing(tmp_path):
        (tmp_path / "a" / "b").write_text("")
    with pytest.raises(FileNotFoundError), writing(tmp_path / "a"):
        (tmp_path / "c" / "d").write_text("")
