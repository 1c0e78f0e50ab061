import errno
import os

import pytest

from dse_hf.errors import describe_os_error
from dse_hf.files import LONGEST_NAME, atomic_write, temporary_name, write_text


@pytest.mark.parametrize("letter", ["x", "é", "語"])
def test_a_long_name_that_fits_is_written(tmp_path, letter):
    name = letter * ((LONGEST_NAME - 4) // len(letter.encode())) + ".txt"
    assert len(os.fsencode(temporary_name(tmp_path / name).name)) <= LONGEST_NAME
    write_text(tmp_path / name, "complete")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["complete"]


def test_a_short_name_is_part_of_its_temporary_name(tmp_path):
    first, second = (temporary_name(tmp_path / "a.wav") for _ in range(2))
    assert first != second and first.name.startswith(".a.wav.") and first.suffix == ".part"


def test_a_name_that_is_too_long_is_told(tmp_path):
    with pytest.raises(OSError) as caught:
        write_text(tmp_path / ("x" * 300), "")
    assert caught.value.errno == errno.ENAMETOOLONG
    assert describe_os_error(caught.value) == "the name is too long for the file system; choose a shorter one"


@pytest.mark.parametrize("hard_links", [True, False])
def test_of_two_that_write_one_file_the_second_is_refused(tmp_path, monkeypatch, hard_links):
    def refuse(*names):
        raise OSError(errno.EPERM, "Operation not permitted")

    if not hard_links:
        monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "a.wav"
    with pytest.raises(FileExistsError), atomic_write(target, overwrite=False) as second:
        with atomic_write(target, overwrite=False) as first:
            first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first"
    with atomic_write(target) as third:
        third.write_text("third")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.wav": "third"}
