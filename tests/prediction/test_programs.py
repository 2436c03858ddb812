"""Programs are compiled once, ahead of their photos, and freed after them."""

import logging
import threading
from contextlib import closing
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from matting_jax.data.files.sizes import read_size
from matting_jax.prediction.jobs import Job, compile_ahead, group_jobs
from matting_jax.prediction.programs import Needed, Program, Programs
from tests.helpers import orientation


def sum_and_size(variables, inputs, heads):
    return {head: variables + inputs["image"].sum() for head in heads}


@pytest.fixture
def programs():
    made = Programs("sum", sum_and_size)
    made.variables = jax.device_put(np.float32(1))
    return made


def image_program(height, width):
    return Program(("total",), (("image", (1, height, width, 3)),))


def test_program_is_compiled_once_for_all_threads_and_again_after_it_is_dropped(programs, caplog):
    caplog.set_level(logging.INFO, "matting_jax")
    program, images = image_program(2, 3), {"image": np.ones((1, 2, 3, 3), np.float32)}
    threads = [threading.Thread(target=programs.compile, args=[program]) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert programs.run(("total",), images)["total"] == 19
    for thread in threads:
        thread.join()
    assert caplog.text.count("compiling sum for 2 x 3\n") == 1
    programs.variables = jax.device_put(np.float32(2))
    assert programs.run(("total",), images)["total"] == 20
    assert caplog.text.count("compiled sum for 2 x 3 in ") == 1
    programs.drop(program)
    assert programs.run(("total",), images)["total"] == 20
    assert caplog.text.count("compiled sum for 2 x 3 in ") == 2


def test_program_that_cannot_be_compiled_raises_each_time(programs):
    programs.function = lambda *_: {}["photo"]
    for _ in range(2):
        with pytest.raises(KeyError, match="photo"):
            programs.compile(image_program(2, 2))
    assert not programs.compiled


def test_photos_of_one_program_follow_one_another_and_programs_are_freed(
    programs, tmp_path, caplog
):
    caplog.set_level(logging.INFO, "matting_jax")
    widths = [4, 7, 4, 9, 7, 4, 11, 9, 13]
    jobs = []
    for number, width in enumerate(widths):
        jobs.append(Job(tmp_path / f"{number}.png", {}, {}))
        Image.new("RGB", (width, 5)).save(jobs[-1].photo)
    jobs.insert(3, Job(tmp_path / "missing.png", {}, {}))

    def list_programs(height, width):  # 8 and 9 are one size of the network
        return [Needed(programs, image_program(height, width // 2 * 2))]

    groups = group_jobs(jobs, list_programs)
    order = [x.photo.stem for _, group in groups for x in group]
    assert order == ["0", "2", "5", "1", "4", "missing", "3", "7", "6", "8"]
    kept = []
    with closing(compile_ahead(groups)) as ordered:
        for job in ordered:
            if job.photo.stem != "missing":
                height, width = read_size(job.photo)
                programs.compile(image_program(height, width // 2 * 2))
            kept.append(len(programs.compiled))
    assert caplog.messages[0] == "the photos need sum at 5 sizes, each compiled once"
    assert sum(x.startswith("compiling") for x in caplog.messages) == 5
    assert any(x.endswith("for 5 x 12 (5 of 5)") for x in caplog.messages)
    assert max(kept) <= 4 and len(programs.compiled) <= 2


@pytest.mark.parametrize("number", [1, 3, 6, 8])
@pytest.mark.parametrize("format", ["jpeg", "tiff", "png", "webp"])
def test_size_is_that_of_the_upright_photo(tmp_path, format, number):
    file = Path(tmp_path / "photo")
    Image.new("RGB", (30, 20)).save(file, format, exif=orientation(number))
    assert read_size(file) == ((30, 20) if number > 4 else (20, 30))
