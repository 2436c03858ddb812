"""Lists are UTF-8, wherever they come from."""

import pytest

from matting_jax.data.prepared.manual import lines


def test_list_of_a_data_set_is_read_with_and_without_a_byte_order_mark(tmp_path):
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / "names.txt").write_text("\u00e4.png\n\n b.png \n", encoding=encoding)
        assert lines(tmp_path / "names.txt") == ["\u00e4.png", "b.png"]


def test_list_of_a_data_set_in_another_encoding_is_reported_with_its_line(tmp_path):
    (tmp_path / "names.txt").write_text("a.png\n\u00e4.png\n", encoding="latin1")
    with pytest.raises(ValueError, match="names.txt is not UTF-8 .byte 0xe4 in line 2.: save it"):
        lines(tmp_path / "names.txt")
