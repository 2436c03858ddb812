"""Batches, devices, processes and shares: the same results, and each photo once."""

import re
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from matting_jax.commandline import main
from matting_jax.convert import to_state_dict
from matting_jax.convert.files import write_state_dict
from matting_jax.models import (
    CHANNELS,
    NETWORKS,
    create_model,
    find_network,
    input_names,
    modnet,
)
from matting_jax.prediction import programs as module
from matting_jax.prediction import whole
from matting_jax.prediction.batches import batch_groups, photos_a_device
from matting_jax.prediction.existing import remaining_jobs
from matting_jax.prediction.jobs import Job, sort_jobs
from matting_jax.prediction.matter import Matter
from matting_jax.prediction.memory import free_bytes
from matting_jax.prediction.padding import run_padded
from matting_jax.prediction.programs import Needed, Program, Programs, program_of
from matting_jax.prediction.shards import Shard, find_shard, parse_shard
from matting_jax.prediction.together import run_together
from matting_jax.prediction.whole import run_whole
from matting_jax.training.state import initial_variables, training_model
from matting_jax.workdir.claim import claim
from tests.helpers import use_folders
from tests.processes import EIGHT, job_of_two, start
from tests.tiny import tiny_config


@pytest.fixture
def programs():
    """Programs of a network that scales each photo by its own mean, and counts its runs."""

    def scale(variables, inputs, heads):
        x = inputs["image"]
        return {"alpha": variables * x[..., :1] * x.mean((1, 2, 3), keepdims=True)}

    made = Programs("scale", scale)
    made.variables = jax.device_put(np.float32(2))
    return made


def photos_of(*sizes):
    rng = np.random.default_rng(0)
    return [{"image": rng.random((1, *size, 3), np.float32)} for size in sizes]


def test_calls_share_a_batch_and_get_their_own_results(programs):
    photos, before = photos_of((4, 6), (4, 6), (4, 6)), threading.get_ident()
    expected = [np.asarray(programs.run(("alpha",), x)["alpha"]) for x in photos]

    def call(inputs):
        assert threading.get_ident() != before
        first = programs.run(("alpha",), inputs)["alpha"]
        return first, programs.run(("alpha",), {"image": np.repeat(first, 3, -1)})["alpha"]

    results = [x.result() for x in run_together([lambda x=x: call(x) for x in photos], 5)]
    assert {program.count for program in programs.compiled} == {1, 5}
    for (first, second), one in zip(results, expected, strict=True):
        np.testing.assert_array_equal(first, one)
        again = programs.run(("alpha",), {"image": np.repeat(first, 3, -1)})["alpha"]
        np.testing.assert_array_equal(second, again)


def test_an_error_of_one_call_is_its_own(programs):
    photos = photos_of((4, 6), (4, 6), (2, 2))

    def call(number):
        if number == 1:
            raise MemoryError("too large")
        return programs.run(("alpha",), photos[number])["alpha"]

    results = run_together([lambda x=x: call(x) for x in range(3)], 3)
    assert [type(x.exception()) for x in results] == [type(None), MemoryError, type(None)]
    assert [x.result().shape for x in results[::2]] == [(1, 4, 6, 1), (1, 2, 2, 1)]


def test_a_batch_that_does_not_fit_runs_singly(programs, monkeypatch):
    photos, single = photos_of((4, 6), (4, 6)), programs.run_single

    def run(heads, inputs):
        if len(inputs["image"]) > 1:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return single(heads, inputs)

    monkeypatch.setattr(programs, "run_single", run)
    calls = [lambda x=x: programs.run(("alpha",), x)["alpha"] for x in photos]
    for result, photo in zip(run_together(calls, 2), photos, strict=True):
        np.testing.assert_array_equal(result.result(), single(("alpha",), photo)["alpha"])


def test_photo_that_does_not_fit_says_what_would_fit(programs, monkeypatch):
    small, large = photos_of((4, 6), (64, 96))
    needed = 64 * 96 * 4
    monkeypatch.setattr(module, "free_bytes", lambda device: needed // 2)
    programs.remedy = "pass a smaller test_time.size"
    assert programs.run(("alpha",), small)["alpha"].shape == (1, 4, 6, 1)
    words = "scale needs 0.0 GiB of memory for 96 x 64 pixels, and there are 0.0 GiB; pass a"
    with pytest.raises(MemoryError, match=words) as raised:
        programs.run(("alpha",), large)
    share = int(re.search(r"(\d+) % of these sides", str(raised.value))[1]) / 100
    assert 0.4 * needed < share**2 * programs.memory[program_of(("alpha",), large)] < 0.5 * needed


def test_memory_of_this_machine_is_known():
    total = int(re.search(r"MemTotal: *(\d+) kB", Path("/proc/meminfo").read_text())[1]) * 1024
    assert 2**28 < free_bytes(jax.devices()[0]) <= total
    matter = Matter("modnet", {"params": {}})
    assert matter.programs.remedy == (
        "pass a smaller test_time.reference_size or compute_dtype=bfloat16"
    )


@pytest.mark.parametrize("name", ["gca", "dim", "bgmv2"])
def test_step_of_sizes_pads_as_the_rule_does(name):
    """The rule gets the photo reflected to the multiple, and its result is cropped."""
    rng, seen = np.random.default_rng(0), []
    network, model = find_network(name), create_model(name)
    images = {x: rng.random((1, 70, 33, CHANNELS[x]), np.float32) for x in input_names(model)}

    def apply(head, **inputs):
        seen.append(inputs)
        return inputs["image"][..., :1] ** 2

    result = run_padded(64, network.predict, model, {}, apply, **images)
    np.testing.assert_array_equal(result, images["image"][..., :1] ** 2)
    for kind, image in images.items():
        expected = np.pad(image, ((0, 0), (0, 58), (0, 31), (0, 0)), "reflect")
        np.testing.assert_array_equal(seen[0][kind], expected)
    matter = Matter(name, {"params": {}}, size_step=64)
    sizes = {matter.list_passes(*size)["alpha"] for size in ((70, 33), (65, 64), (128, 1))}
    assert sizes == {(128, 64)}
    with pytest.raises(ValueError, match=f"size_step of {name} must be a multiple of .*, got 62"):
        Matter(name, {"params": {}}, size_step=62)


def test_step_of_sizes_is_refused_where_photos_have_the_size_of_the_rule():
    with pytest.raises(ValueError, match="modnet gets photos at sizes of its own: omit size_step"):
        Matter("modnet", {"params": {}}, size_step=64)


def test_folder_of_forty_sizes_compiles_as_often_as_it_has_network_sizes(
    weights, tmp_path, monkeypatch, caplog
):
    caplog.set_level("INFO", "matting_jax")
    monkeypatch.setitem(NETWORKS, "tiny", replace(NETWORKS["tiny"], passes=modnet.passes))
    (tmp_path / "photos").mkdir()
    sizes = [(height, width) for height in range(32, 72, 5) for width in (33, 40, 60, 64, 90)]
    for number, (height, width) in enumerate(sizes):
        Image.new("RGB", (width, height), (9 * number % 256, 50, 200)).save(
            tmp_path / "photos" / f"{number}.png"
        )
    places = [f"--input={tmp_path / 'photos'}", f"--output={tmp_path / 'out'}"]
    more = ["--foreground=none", "--config.test_time.reference_size=32"]
    assert main(["launch.py", "--mode=predict", *weights, *places, *more], "") == 0
    needed = {
        modnet.passes(*size, model=modnet.DEFAULT, reference_size=32)["alpha"] for size in sizes
    }
    assert len(set(sizes)) == 40 and 2 < len(needed) < 8
    assert f"the photos need tiny at {len(needed)} sizes, each compiled once" in caplog.messages
    compiled = [x for x in caplog.messages if x.startswith("compiled tiny for")]
    assert len(compiled) == len(needed)
    assert len(list((tmp_path / "out").glob("*_alpha.png"))) == 40


def test_sizes_of_many_photos_are_resized_on_an_accelerator(weights, tmp_path, monkeypatch, caplog):
    """Forced on CPU: the same alphas to rounding, by one program for the common size."""
    caplog.set_level("INFO", "matting_jax")
    monkeypatch.setitem(
        NETWORKS,
        "tiny",
        replace(NETWORKS["tiny"], passes=modnet.passes, predict=modnet.predict),
    )
    rng, photos = np.random.default_rng(0), tmp_path / "photos"
    photos.mkdir()
    for number in range(20):
        size = (48, 70) if number < 16 else (48, 73)
        image = Image.fromarray(rng.integers(0, 256, (6, 9, 3), np.uint8)).resize(size[::-1])
        image.save(photos / f"{number:02}.png")

    def predict(name):
        places = [f"--input={photos}", f"--output={tmp_path / name}"]
        more = ["--foreground=none", "--bits=16", "--config.test_time.reference_size=32"]
        assert main(["launch.py", "--mode=predict", *weights, *places, *more], "") == 0
        compiled = [x for x in caplog.messages if x.startswith("compiled tiny")]
        caplog.clear()
        alphas = [Image.open(x) for x in sorted((tmp_path / name).glob("*.png"))]
        return [re.sub(" in .*", "", x) for x in compiled], alphas

    compiled, host = predict("host")
    assert compiled == ["compiled tiny for 32 x 32"] and len(host) == 20
    monkeypatch.setattr(whole, "on_accelerator", lambda: True)
    compiled, device = predict("device")
    assert sorted(compiled) == [
        "compiled tiny for 32 x 32",
        "compiled tiny with its resizes for 48 x 70",
    ]
    for one, other in zip(host, device, strict=True):
        np.testing.assert_allclose(np.int32(one), np.int32(other), rtol=0, atol=2)


@pytest.mark.parametrize("name", ["modnet", "pp_matting", "gfm", "bisenet_v2"])
def test_rules_compiled_whole_equal_those_of_the_host(name):
    """With a network that is a function of neighbours, also where the rule reads two outputs."""

    def network(variables, inputs, heads):
        x = inputs["image"]
        y = jnp.roll(x, 1, 2)
        products = jnp.concatenate([x, y, x * y, 1 - x, 1 - y, x * x, y[..., :1]], -1)
        outputs = {"alpha": x[..., :1] * y[..., 1:2], "focus": y[..., 2:], "logits": 9 * products}
        return jnp.concatenate([(outputs | {"glance": (x + y) / 2})[head] for head in heads], -1)

    small = {"modnet": "reference_size", "pp_matting": "max_short", "bisenet_v2": "short_side"}
    matter = Matter(name, {"params": {}}, test_time={small[name]: 96} if name in small else {})
    matter.programs.function = network
    matter.whole.function = partial(run_whole, matter.rule, network)
    photo = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    photo = np.asarray(Image.fromarray(photo).resize((201, 150), Image.Resampling.BICUBIC))
    host = matter(photo)
    passes, compiled = matter.list_passes(150, 201), len(matter.programs.compiled)
    assert compiled == len(passes)
    matter.resize_on_device([(150, 201)])
    (needed,) = matter.list_programs(150, 201)
    assert needed.pixels == max(height * width for height, width in passes.values())
    np.testing.assert_allclose(matter(photo), host, rtol=0, atol=1e-6)
    assert [*matter.whole.compiled] == [needed.program]
    # What does not fit whole may fit as the network alone.
    needed.programs.memory[needed.program] = 2**60
    np.testing.assert_array_equal(matter(photo), host)
    assert len(matter.programs.compiled) == compiled


def test_networks_that_do_not_resize_have_no_such_programs():
    matter = Matter("gca", {"params": {}})
    matter.resize_on_device([(70, 33)])
    assert matter.whole_sizes == set() and matter.list_programs(70, 33)[0].programs.name == "gca"


def test_programs_that_no_plan_lists_are_kept_for_the_last_sizes(programs, monkeypatch):
    monkeypatch.setattr(module, "MOST_UNPLANNED", 3)
    planned = program_of(("alpha",), photos_of((1, 1))[0])
    Needed(programs, planned).compile()
    sizes = [(1, width) for width in range(2, 8)]
    for size in sizes:
        (photo,) = photos_of(size)
        programs.run(("alpha",), photo)
        programs.run(("alpha",), photos_of(sizes[0])[0])  # is used all the time
    kept = {program.size for program in programs.compiled}
    assert kept == {(1, 1), sizes[0], *sizes[-2:]}
    Needed(programs, planned).drop()
    assert planned not in programs.compiled


def test_batches_fill_the_devices_with_one_program_a_group(programs, tmp_path, monkeypatch):
    def groups(count, size=(8, 8)):
        jobs = [Job(tmp_path / f"{i}.png", {}, {}) for i in range(count)]
        for job in jobs:
            Image.new("L", size[::-1]).save(job.photo)
        program = Program(("alpha",), (("image", (1, *size, 3)),))
        return [((Needed(programs, program),), jobs)]

    def sizes(devices, platform, *group):
        device = type("Device", (), {"platform": platform})
        monkeypatch.setattr(jax, "local_devices", lambda: [device] * devices)
        (((needed,), batches),) = batch_groups(groups(*group), lambda job: job.photo)
        assert {x.size for x in batches} == {needed.program.count}
        return needed.program.count, [len(x) for x in batches]

    assert sizes(1, "cpu", 5) == (1, [1] * 5)
    assert sizes(8, "cpu", 3) == (3, [3])
    assert sizes(8, "cpu", 11) == (8, [8, 3])
    assert sizes(1, "gpu", 5) == (5, [5])
    assert sizes(1, "gpu", 20) == (16, [16, 4])
    assert sizes(2, "gpu", 5) == (4, [4, 1])
    assert sizes(8, "cpu", 1) == (1, [1])
    assert sizes(1, "gpu", 2, (4096, 4096)) == (1, [1, 1])


def test_pixels_limit_the_photos_of_a_device(programs):
    def count(*sizes):
        shapes = [Program((), (("image", (1, *size, 3)),)) for size in sizes]
        return photos_a_device("gpu", [Needed(programs, shape) for shape in shapes])

    assert [count((512, 512)), count((1024, 1024)), count((4096, 4096))] == [8, 2, 1]
    assert count((512, 512), (1024, 512)) == 4
    assert photos_a_device("gpu", []) == 1


# "" and "/" are those of variables that a queue has not set.
@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", "", "/"])
def test_share_that_does_not_exist_is_refused(text):
    with pytest.raises(ValueError, match="--shard must be INDEX/COUNT"):
        find_shard(text)


def test_share_without_a_photo_is_told(tmp_path, capsys):
    jobs = [Job(tmp_path / "a.png", {}, {})]
    assert remaining_jobs(jobs, tmp_path, "error", parse_shard("1/2")) == []
    assert capsys.readouterr().out.startswith("share 1/2 has no photo")


def test_shares_hold_each_photo_once_and_keep_shapes_together(tmp_path):
    assert parse_shard("3/16") == (2, 16) and str(Shard(2, 16)) == "3/16"
    jobs = []
    for number in range(11):
        jobs.append(Job(tmp_path / f"{number}.png", {}, {}))
        if number:  # the first has no header
            Image.new("L", [(20, 10), (40, 20), (10, 20)][number % 3]).save(jobs[-1].photo)
    shares = [Shard(i, 4).of(sort_jobs(jobs)) for i in range(4)]
    assert sorted(len(x) for x in shares) == [2, 3, 3, 3]
    order = [int(job.photo.stem) for share in shares for job in share]
    assert order == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8]


@pytest.fixture(scope="module")
def weights(folders, compiled_once, tmp_path_factory):
    """The flags of a checkpoint of the tiny network and a workdir with its config."""
    config = use_folders(tiny_config(), folders, compiled_once)
    folder = tmp_path_factory.mktemp("weights")
    variables = jax.device_get(initial_variables(config, training_model(config)))
    write_state_dict(folder / "tiny.safetensors", to_state_dict("tiny", variables))
    claim(folder / "run", config)
    return [f"--workdir={folder / 'run'}", f"--checkpoint={folder / 'tiny.safetensors'}"]


def finish(*programs, code=0):
    """Waits for programs, and returns their output and messages."""
    texts = []
    for program in programs:
        text = "".join(program.communicate(timeout=300))
        assert program.returncode == code, text[-4000:]
        texts.append(text)
    return texts


@pytest.mark.slow
def test_devices_processes_and_shares_give_the_files_of_one(weights, tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(23):
        size = [(40, 60), (64, 64), (40, 60), (90, 33)][number % 4]
        image = Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8))
        image.save(tmp_path / "photos" / f"{number:02}.png")
    (tmp_path / "photos" / "broken.png").write_text("no image")

    def predict(name, *more, **variables):
        places = [f"--input={tmp_path / 'photos'}", f"--output={tmp_path / name}"]
        return start(["--mode=predict", *weights, *places, "--bits=16", *more], **variables)

    def results(name):
        return {x.name: x.read_bytes() for x in (tmp_path / name).glob("*.png")}

    (text,) = finish(predict("one"), code=1)
    assert "23 of 24 photos" in text
    expected = results("one")
    (text,) = finish(predict("eight", **EIGHT), code=1)
    assert "8 photos at a time" in text and results("eight") == expected
    programs = [predict("two", **variables) for variables in job_of_two()]
    codes = [(program.communicate(timeout=300), program.returncode) for program in programs]
    assert sorted(code for _, code in codes) == [0, 1], codes
    assert results("two") == expected
    # Of both programs' lines each photo has one.
    record = (tmp_path / "two" / "predictions.jsonl").read_text()
    assert record.count("\n") == 24 and record.count('"fault": null') == 23
    for number, code in ((2, 0), (1, 1)):
        finish(predict("shares", f"--shard={number}/2"), code=code)
    assert results("shares") == expected
