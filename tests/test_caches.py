"""Caches that cannot be written are replaced, and programs wait for one another."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from matting_jax.caches import cache_path, one_at_a_time, writable_folder
from matting_jax.config import split_variant
from matting_jax.prediction.jobs import Job
from matting_jax.prediction.predict import quantise
from matting_jax.prediction.run import SkippedPhoto, Work, draw_job, predict_job, read_job
from tests.helpers import ROOT, noise, save_image, soft_disc
from tests.plates import write_builder

# A read-only installation with a read-only home, for which root needs a patch.
READ_ONLY = """
import tempfile
import numpy as np
from numba.core import caching
writable = caching._CacheLocator.ensure_cache_path
def ensure(self):
    if not self.get_cache_path().startswith(tempfile.gettempdir()):
        raise PermissionError(13, "read-only")
    writable(self)
caching._CacheLocator.ensure_cache_path = ensure
import matting_jax as mj
from matting_jax.image.foreground import multilevel
x = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
print(mj.metrics.conn(x, x), mj.metrics.grad(x, x))
print(multilevel(np.full((8, 8, 3), 9, np.uint8), np.full((8, 8), 99, np.uint8)).shape)
"""


def test_numba_needs_no_writable_folder_but_a_temporary_one():
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.stdout.splitlines() == ["0.0 0.0", "(8, 8, 3)"], done.stderr
    assert done.stderr.count("numba's cache cannot be written") == 1


def test_folder_that_cannot_be_written_is_replaced_and_said_once(tmp_path, caplog):
    (tmp_path / "file").write_text("in place of a folder")
    folders = {writable_folder(tmp_path / "file" / "cache") for _ in range(3)}
    (folder,) = folders
    assert folder.is_dir() and tmp_path not in folder.parents
    assert caplog.text.count("cannot be written") == 1
    assert writable_folder(tmp_path / "new" / "cache") == tmp_path / "new" / "cache"


@pytest.mark.parametrize(
    "folder, home, path",
    [
        ("~/.cache/matting_jax/xla", "/fast", "/fast/matting_jax/xla"),
        ("~/.cache/matting_jax/xla", "", "~/.cache/matting_jax/xla"),
        ("~/.cache/matting_jax/xla", "relative", "~/.cache/matting_jax/xla"),
        ("~/cache", "/fast", "~/cache"),
        ("/data/.cache", "/fast", "/data/.cache"),
    ],
)
def test_caches_follow_xdg_cache_home(monkeypatch, folder, home, path):
    monkeypatch.setenv("XDG_CACHE_HOME", home)
    assert str(cache_path(folder)) == os.path.expanduser(path)


COMPILE = """
import sys, warnings
from collections import Counter
import jax
from matting_jax.caches import keep_compiled
warnings.simplefilter("error")
events = Counter()
jax.monitoring.register_event_listener(lambda event, **_: events.update([event]))
keep_compiled(sys.argv[1])
for i in range(int(sys.argv[2]), int(sys.argv[3])):
    jax.jit(lambda x: x * i + 1)(1.0)
print(*(events[f"/jax/compilation_cache/cache_{x}"] for x in ("hits", "misses")))
"""


def start_compiling(folder, first, last, limit):
    """Starts a program that compiles programs numbered first to last - 1; prints hits, misses."""
    environment = os.environ | {"JAX_COMPILATION_CACHE_MAX_SIZE": str(limit)}
    return subprocess.Popen(
        [sys.executable, "-c", COMPILE, str(folder), str(first), str(last)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_second_program_compiles_nothing_that_the_first_did(tmp_path):
    for first, last, limit, expected in ((0, 4, -1, "0 4"), (0, 6, 2**20, "4 2")):
        # The first has no limit, and thus does not date what it writes.
        output, errors = start_compiling(tmp_path, first, last, limit).communicate(timeout=600)
        assert output.strip() == expected, errors
    assert len(list(tmp_path.glob("*-cache"))) == 6


def test_compiled_programs_stay_below_their_limit_with_two_programs_at_a_time(tmp_path):
    assert start_compiling(tmp_path, 0, 1, 2**20).wait(600) == 0
    (entry,) = tmp_path.glob("*-cache")
    limit = 5 * entry.stat().st_size
    programs = [start_compiling(tmp_path, first, first + 9, limit) for first in (1, 10)]
    for program in programs:
        output, errors = program.communicate(timeout=600)
        assert output.strip() == "0 9", errors
    sizes = [entry.stat().st_size for entry in tmp_path.glob("*-cache")]
    assert 3 <= len(sizes) < 10 and sum(sizes) <= limit


HOLD = """
import sys, time
from pathlib import Path
from matting_jax.caches import one_at_a_time
with one_at_a_time(Path(sys.argv[1]), "works"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
    Path(sys.argv[1]).with_name("done").touch()
"""


@pytest.mark.parametrize("killed", [False, True])
def test_second_program_waits_for_the_first(tmp_path, caplog, killed):
    caplog.set_level("INFO", "matting_jax")
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock"), "600" if killed else "2"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout.readline() == "held\n"
        if killed:
            program.kill()
        with one_at_a_time(tmp_path / "lock", "works"):
            assert (tmp_path / "done").exists() != killed
    assert killed or "another program works: waiting for it" in caplog.text


def test_lock_in_a_folder_that_cannot_be_written_is_omitted(tmp_path):
    (tmp_path / "file").write_text("")
    start = time.monotonic()
    with one_at_a_time(tmp_path / "file" / "lock", "works"):
        pass
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "spec, path, variant",
    [
        ("C:/x.py", "C:/x.py", ""),
        ("C:/x.py:paper", "C:/x.py", "paper"),
        ("x.py:paper", "x.py", "paper"),
        ("a:b.py", "a:b.py", ""),
        ("a:b.py:paper", "a:b.py", "paper"),
        ("C:/missing.py", "C:/missing.py", ""),
        ("missing.py:paper", "missing.py", "paper"),
        ("missing.py", "missing.py", ""),
    ],
)
def test_longest_file_of_a_config_flag_wins(tmp_path, monkeypatch, spec, path, variant):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "C:").mkdir()
    for name in ("C:/x.py", "x.py", "a:b.py", "a"):
        (tmp_path / name).write_text("")
    found, chosen = split_variant(spec)
    assert (found.as_posix(), chosen) == (path, variant)


PREPARE = """
import sys
from matting_jax.data.prepared.builders import load_builder, records
builder = load_builder("tiny_plates", sys.argv[1], sys.argv[2])
print(len(records(builder, "train")), len(records(builder, "test")))
"""


def test_two_programs_prepare_one_data_set(tmp_path):
    write_builder(tmp_path)
    command = [sys.executable, "-c", PREPARE, str(tmp_path / "prepared"), str(tmp_path)]
    programs = [
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for program in programs:
        output, errors = program.communicate(timeout=600)
        assert output.splitlines()[-1:] == ["6 3"], errors


ESTIMATE = """
import json, sys, time
from pathlib import Path
import numpy as np
import matting_jax as mj
from matting_jax.data.estimated import colours, denoise
from matting_jax.data.files.folders import find_pairs
from matting_jax.image import foreground

if __name__ == "__main__":
    root, number = Path(sys.argv[1]), sys.argv[2]
    written, write = [], colours.write_cutout
    colours.write_cutout = lambda *given: (time.sleep(0.1), written.append(given[2]), write(*given))
    (root / number).touch()
    while not all((root / other).exists() for other in "01"):
        time.sleep(0.01)
    pairs = find_pairs(root / "set", "set", root / "cache", 1).items
    targets = colours.cut_out(pairs, root / "cache", 1)
    copies = denoise.denoise_folder(root / "set" / "image", root / "copies", 1)
    x = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    scores = [mj.metrics.conn(x, x * 0), mj.metrics.grad(x, x * 0)]
    print(json.dumps([[x.name for x in targets], len(written), len(copies), scores]))
"""


@pytest.mark.slow
def test_two_programs_estimate_and_compile_at_once(tmp_path):
    """Each file is written once, the loser waits, and both end with the same results."""
    pytest.importorskip("skimage")
    for name in "abcd":
        save_image(noise(1, 16, 16, 3), tmp_path, "set", "image", f"{name}.png")
        save_image(soft_disc(16, 16), tmp_path, "set", "alpha", f"{name}.png")
    (tmp_path / "program.py").write_text(ESTIMATE)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "numba"), "PYTHONPATH": str(ROOT)}
    programs = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "program.py"), str(tmp_path), number],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in "01"
    ]
    results = []
    for program in programs:
        output, errors = program.communicate(timeout=600)
        assert program.returncode == 0, errors
        results.append(json.loads(output.splitlines()[-1]))
    first, second = results
    assert first[0] == second[0] and len(set(first[0])) == 4 and first[3] == second[3]
    assert first[1] + second[1] == 4 and first[2] + second[2] == 4
    assert len(list((tmp_path / "copies").glob("*.png"))) == 4
    assert list((tmp_path / "numba").rglob("*.nbi"))


def test_photo_whose_alpha_is_not_finite_is_reported(tmp_path):
    save_image(noise(0, 8, 8, 3), tmp_path, "photo.png")
    alpha = np.full((8, 8), 0.5, np.float32)
    alpha[0, :3] = np.nan

    work = Work(lambda photo: alpha, lambda photo, alpha: {"alpha": quantise(alpha, 8)})
    job = Job(tmp_path / "photo.png", {}, {})
    with pytest.raises(SkippedPhoto, match=r"photo.png: .* NaN or infinity in 3 of 64 values"):
        draw_job(work, job, predict_job(work, job, read_job(job, "srgb", False)))
