"""Kept files do not fill the disk, and a folder that cannot be written does no harm."""

import os

from matting_jax import kept


def test_least_recently_used_files_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "MOST_BYTES", 25)
    (tmp_path / "other").write_bytes(bytes(10))
    for number in range(3):
        kept.keep(tmp_path / f"{number}.trace", bytes(8))
        os.utime(tmp_path / f"{number}.trace", (number, number))
    assert kept.read_kept(tmp_path / "0.trace") == bytes(8)
    kept.keep(tmp_path / "3.trace", bytes(8))
    assert sorted(x.name for x in tmp_path.iterdir()) == ["0.trace", "2.trace", "3.trace", "other"]


def test_nothing_is_kept_below_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    kept.keep(tmp_path / "file" / "0.trace", b"content")
    assert kept.read_kept(tmp_path / "file" / "0.trace") is None
    assert [x.name for x in tmp_path.iterdir()] == ["file"]
