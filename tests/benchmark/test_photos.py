"""The benchmark of folders of photos: what it runs, and what it counts."""

import sys

import pytest
from PIL import Image

from matting_jax.benchmark.photos import LONGS, SHORT, draw_photos, fill, measure, run
from matting_jax.models.modnet import network_size

CACHE = "import os, pathlib; p = pathlib.Path(os.environ['XDG_CACHE_HOME'])"


def python(*lines: str) -> list[str]:
    return [sys.executable, "-c", "; ".join(lines)]


def test_the_first_command_leaves_caches_to_the_others(tmp_path):
    commands = {
        "first": python(CACHE, "assert not p.exists()", "p.mkdir()"),
        "again": python(CACHE, "(p / str(os.getpid())).touch()"),
        "other": python(CACHE, "(p / str(os.getpid())).touch()"),
    }
    rows = list(measure(commands, tmp_path, 3))
    assert [name for name, _ in rows] == ["first", "again", "other"]
    assert len(list((tmp_path / "cache").iterdir())) == 6


def test_cpu_time_is_that_of_the_command_and_a_failure_is_shown():
    busy = "[0 for _ in iter(lambda: time.process_time() < 0.3, False)]"
    usage = run(python("import time", busy, "time.sleep(0.2)", "x = bytes(10**8)"), {})
    assert usage.cpu >= 0.3 and usage.clock >= 0.5 and usage.peak >= 10**8
    with pytest.raises(SystemExit, match="no such thing"):
        run(python("raise ValueError('no such thing')"), {})


def test_photos_are_of_ten_network_sizes(tmp_path):
    assert len({network_size(SHORT, long) for long in LONGS}) == 10
    files = sorted(draw_photos(tmp_path / "photos", 4).iterdir())
    first, second = LONGS[:2]
    assert [Image.open(x).size for x in files] == [(first, SHORT)] * 2 + [(SHORT, second)] * 2


def test_the_other_program_gets_both_folders(tmp_path):
    words = fill("demo --in {input} 'a b' {output}", tmp_path / "a b", tmp_path / "c")
    assert words == ["demo", "--in", f"{tmp_path}/a b", "a b", f"{tmp_path}/c"]
