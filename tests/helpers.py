"""Shared code of the tests: comparisons, runs, small images and files."""

import json
import math
import struct
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType
from PIL import Image

from matting_jax import parallel
from matting_jax.convert.dim import TORCHVISION
from matting_jax.data import train_batches, train_source
from matting_jax.tasks import find_task
from matting_jax.tasks.task import mad
from matting_jax.training.optimizer import create_optimizer
from matting_jax.training.state import initial_state, initial_variables, training_model
from matting_jax.training.step import train_step
from matting_jax.workdir import checkpoint
from tests.goldens import bgmv2 as bgmv2_checkpoints
from tests.goldens import synth

ROOT = Path(__file__).resolve().parents[1]
GOLDENS = ROOT / "tests" / "goldens"
CONFIGS = ROOT / "configs"
MODNET = CONFIGS / "modnet.py"
MODNET_SOC = CONFIGS / "modnet_soc.py"


def soft_disc(height, width):
    """Returns the alpha uint8 [H, W] of a disc with a soft edge."""
    y, x = np.mgrid[:height, :width]
    radius = np.hypot(y - height / 2, x - width / 2)
    return np.rint(255 * np.clip((0.35 * min(height, width) - radius) / 6 + 0.5, 0, 1)).astype("u1")


def save_image(array, *place):
    """Saves an array as the image file whose path is joined from `place`."""
    path = Path(*place)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def draw_images(folder):
    """Writes folders `foregrounds` (RGBA), `backgrounds`, and `test` with image/ and alpha/."""
    rng = np.random.default_rng(0)

    def texture(height, width):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
        return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))

    for i in range(4):
        rgba = np.dstack([texture(80, 80), soft_disc(80, 80)])
        save_image(rgba, folder, "foregrounds", f"{i}.png")
    for i in range(3):
        save_image(texture(64, 72), folder, "backgrounds", f"{i}.png")
    for name, size in {"a": (40, 48), "b": (48, 40), "c": (44, 44)}.items():
        alpha = soft_disc(*size)
        weight = alpha[..., None] / 255
        image = weight * texture(*alpha.shape) + (1 - weight) * texture(*alpha.shape)
        save_image(np.rint(image).astype(np.uint8), folder, "test", "image", f"{name}.png")
        save_image(alpha, folder, "test", "alpha", f"{name}.png")
    return folder


def use_folders(config, folders, cache):
    """Makes a config train and test on the folders of `draw_images`."""
    if config.task.name == "soc":
        config.data.train.photos = str(folders / "backgrounds")
    else:
        config.data.train.foregrounds = str(folders / "foregrounds")
        config.data.train.backgrounds = str(folders / "backgrounds")
        config.data.foreground_colours = "as_is"
    config.data.test.images = str(folders / "test")
    config.data.cache = str(folders / "cache")
    config.compilation_cache = str(cache)
    return config


def assert_same(tree, other):
    """Asserts that all leaves of two trees are bit-equal."""
    assert jax.tree.structure(tree) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, tree, other)


def differs(tree, other):
    return any(
        not np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True)
    )


def lines_of(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def scores_of(workdir):
    """Returns the lines with scores, without their time."""
    scored = [line for line in lines_of(workdir) if "test_mad" in line]
    return [{name: x for name, x in line.items() if name != "time"} for line in scored]


def saved(workdir, step, like):
    manager = checkpoint.open_checkpoints(workdir, mad)
    abstract = jax.tree.map(np.asarray, like)
    state = manager.restore(step, args=checkpoint.ocp.args.StandardRestore(abstract))
    manager.close()
    return state


def one_step(config, steps=1):
    """Returns the first state, the last state and the terms of each step on one repeated batch."""
    mesh, model = parallel.device_mesh(config.batch_size), training_model(config)
    variables = initial_variables(config, model)
    optimizer = create_optimizer(config, variables["params"])
    task = find_task(config.task.name)
    source = train_source(config, planes=task.planes(config))
    first = initial_state(config, variables, optimizer, task)
    step = parallel.pmap(train_step(config, model, task, optimizer, len(source)), mesh)
    batch = next(train_batches(source, config, 0, 1))
    state, terms = parallel.replicate(jax.tree.map(jnp.copy, first), mesh), []
    for _ in range(steps):
        state, values = step(state, parallel.split(batch, mesh))
        terms.append(jax.device_get(values))
    return jax.device_get(first), jax.device_get(state), terms


def train_on_one_and_eight(config, model, drawn, batch, steps=3):
    """Returns state and terms of some steps on one device, and asserts that eight give the same."""
    task, optimizer = find_task(config.task.name), create_optimizer(config, drawn["params"])
    results = []
    for count in (1, 8):
        mesh = jax.make_mesh(
            (count,), (parallel.AXIS,), devices=jax.devices()[:count], axis_types=(AxisType.Auto,)
        )
        step = parallel.pmap(train_step(config, model, task, optimizer, len(batch["index"])), mesh)
        state = parallel.replicate(initial_state(config, drawn, optimizer, task), mesh)
        terms = []
        for _ in range(steps):
            state, values = step(state, parallel.split(batch, mesh))
            terms.append(values)
        results.append(jax.device_get({"state": state, "terms": terms}))
    one, eight = results
    assert jax.tree.leaves(one["state"]["params"])[0].dtype == np.float64
    worst = 0.0
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(eight), strict=True
    ):
        difference = np.abs(np.asarray(a, np.float64) - b).max() / max(1, np.abs(a).max())
        worst = max(worst, difference)
        assert difference < 1e-6, (jax.tree_util.keystr(path), difference)
    print(f"largest difference {worst:.2g}")
    return one


class Quarter:
    """A matter that predicts 0.25 for every pixel."""

    needs = ()

    def __init__(self, *_, **__):
        pass

    def __call__(self, photo):
        return np.full(photo.shape[:2], 0.25, np.float32)

    def list_programs(self, height, width):
        return []


def photographs(seed=0, size=64):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    alpha = np.clip((27 - np.hypot(y - 32, x - 29)) / 2, 0, 1)
    return {
        "foreground": rng.integers(0, 256, (4, size, size, 3), dtype=np.uint8),
        "alpha": np.broadcast_to(np.rint(255 * alpha), (4, size, size)).astype(np.uint8)[..., None],
        "background": rng.integers(0, 256, (4, size, size, 3), dtype=np.uint8),
    }


def as_float(codes):
    """Returns a uint8 trimap [H, W] as 0, 0.5 and 1, [H, W, 1]."""
    return np.where(codes == 128, 0.5, codes / 255).astype(np.float32)[..., None]


def windows(height, width, size, stride):
    """Returns rows and columns of the windows of a map padded by one, [h * w, size, size]."""
    y, x = (stride * i.ravel()[:, None, None] for i in np.mgrid[:height, :width])
    return y + np.arange(size)[:, None], x + np.arange(size)


def reflected(x):
    return jnp.pad(x, ((1, 1), (1, 1), (0, 0)), mode="reflect")


def patch_weights(guide, unknown):
    """Returns weights [keys, queries] of one sample, [h, w, C] and [h, w], as the paper does."""
    height, width, _ = guide.shape
    near = windows(height, width, 3, 1)
    patches = reflected(guide)[near].reshape(height * width, -1)
    norms = jnp.sqrt(jnp.maximum(jnp.sum(patches**2, 1, keepdims=True), 1e-8))
    scores = patches / norms @ patches.T
    near_unknown = np.pad(unknown, 1, mode="reflect")[near].mean((1, 2)) > 0
    share = unknown.mean()
    with np.errstate(divide="ignore"):
        of_unknown = np.clip(np.sqrt(np.divide(share, 1 - share)), 0.1, 10)
        of_known = np.clip(np.sqrt(np.divide(1 - share, share)), 0.1, 10)
    scores *= np.where(near_unknown, of_unknown, of_known)[:, None]
    return jax.nn.softmax(scores - np.diag(1e4 * near_unknown), axis=0)


def dilated(x, element, times=1):
    """Dilates the set x [H, W] by a structuring element, `times` times."""
    size, (height, width) = len(element), x.shape
    for _ in range(times):
        padded = np.pad(x, size)
        corners = np.argwhere(element) + size - size // 2
        x = np.any([padded[i : i + height, j : j + width] for i, j in corners], axis=0)
    return x


def bgmv2_backbone_file(kind, backbone):
    """Returns {name: array} of another network's file, and the tensors of BGMv2 in it."""
    source = synth.state_dict(bgmv2_checkpoints.manifest(backbone, refine=False), 7)
    first = "backbone.conv1.weight" if "resnet" in backbone else "backbone.features.0.0.weight"
    parts = ("backbone.",) if kind == "torchvision" else ("backbone.", "aspp.")
    held = {name: x for name, x in source.items() if name.startswith(parts) and name != first}
    tensors = {**held, first: source[first][:, :3]}
    if kind == "torchvision":
        tensors = {name.removeprefix("backbone."): x for name, x in tensors.items()}
        head = "fc" if "resnet" in backbone else "classifier.1"
        tensors |= {f"{head}.weight": np.zeros((1000, 8)), f"{head}.bias": np.zeros(1000)}
        if backbone == "mobilenet_v2":
            tensors["features.18.0.weight"] = np.zeros((1280, 320, 1, 1))
        return tensors, held

    def deeplab(name):
        if name.startswith("aspp."):
            return name.replace("aspp.", "classifier.classifier.0.", 1)
        if name.startswith("backbone.features."):
            level = "low" if int(name.split(".")[2]) < 4 else "high"
            return name.replace("features", f"{level}_level_features", 1)
        return name

    tensors = {deeplab(name): x for name, x in tensors.items()}
    return tensors | {"classifier.classifier.1.weight": np.zeros((256, 256, 3, 3))}, held


def vgg16_file(tensors):
    """Returns DIM's encoder as torchvision's VGG-16: RGB input only, with a classifier."""
    renamed = {"classifier.0.weight": np.zeros((4096, 8), np.float32)}
    for name, tensor in tensors.items():
        layer, leaf = name.removeprefix("backbone.encoder.").rsplit(".", 1)
        if layer in TORCHVISION:
            first = layer == "layer1.0" and leaf == "weight"
            renamed[f"features.{TORCHVISION[layer]}.{leaf}"] = tensor[:, :3] if first else tensor
    return renamed


def resnet34_file(state_dict):
    """Returns GCA's backbone as a ResNet-34 file: RGB input only, with a classifier."""
    encoder = "module.encoder."
    tensors = {
        name.replace(encoder, "module."): x
        for name, x in state_dict.items()
        if name.startswith(tuple(encoder + part for part in ("conv", "bn", "layer")))
    }
    first = "module.conv1.module.weight_"
    tensors[first + "bar"] = np.ascontiguousarray(tensors[first + "bar"][:, :3])
    tensors[first + "v"] = tensors[first + "v"][:27]
    return tensors | {"module.fc.weight": np.zeros((1000, 512)), "module.fc.bias": np.zeros(1000)}


def png_chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(header, *chunks):
    """Returns a PNG of `header` (width, height, depth, colour type) and chunks (name, body)."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0))
    body = b"".join(png_chunk(*chunk) for chunk in (*chunks, (b"IEND", b"")))
    return b"\x89PNG\r\n\x1a\n" + head + body


def write_png16(path, values):
    """Writes uint16 [H, W, C] as a PNG: 1 to 4 channels."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    path.write_bytes(png((width, height, 16, colour_type), (b"IDAT", zlib.compress(rows))))


def write_tiff16(path, values, *, planes=False, white_is_zero=False):
    """Writes uint16 [H, W, C] as an uncompressed TIFF: 1, 3 or 4 channels."""
    height, width, channels = values.shape
    strips = [values.astype("<u2").tobytes()]
    if planes:
        strips = [values[..., i].astype("<u2").tobytes() for i in range(channels)]
    starts = [8 + sum(map(len, strips[:i])) for i in range(len(strips))]
    short, long = "H", "I"
    tags = {  # number: type, values
        256: (short, [width]),
        257: (short, [height]),
        258: (short, [16] * channels),
        259: (short, [1]),
        262: (short, [2 if channels > 1 else int(not white_is_zero)]),
        273: (long, starts),
        277: (short, [channels]),
        278: (short, [height]),
        279: (long, [len(strip) for strip in strips]),
        284: (short, [2 if planes else 1]),
    }
    if channels == 4:
        tags[338] = (short, [2])
    pixels = b"".join(strips)
    start = 8 + len(pixels)
    entries, further = b"", b""
    end = start + 2 + 12 * len(tags) + 4
    for number, (kind, numbers) in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}{kind}", *numbers)
        entries += struct.pack("<HHI", number, 3 if kind == short else 4, len(numbers))
        if len(packed) > 4:
            entries += struct.pack("<I", end + len(further))
            further += packed
        else:
            entries += packed.ljust(4, b"\0")
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0) + further
    path.write_bytes(b"II" + struct.pack("<HI", 42, start) + pixels + directory)


def noise(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def merge_by_hand(foreground, alpha, background):
    """Composites pixel by pixel, with Python's numbers."""
    height, width = alpha.shape
    ratio = max(width / background.width, height / background.height)
    if ratio > 1:
        size = math.ceil(background.width * ratio), math.ceil(background.height * ratio)
        background = background.resize(size, Image.Resampling.BICUBIC)
    behind, merged = np.asarray(background), np.zeros_like(foreground)
    for y in range(height):
        for x in range(width):
            a = int(alpha[y, x]) / 255
            for c in range(3):
                value = a * int(foreground[y, x, c]) + (1 - a) * int(behind[y, x, c])
                merged[y, x, c] = int(value)
    return merged


def run_rule(predict, outputs=None, **images):
    """Runs a test-time rule on one photo, without its network: result [H, W, C], {head: inputs}.

    `outputs` {head: [1, h, w, C]} are those of the network. A missing head is the first channel of
    the photo that the network gets.
    """
    passes = {}

    def apply(head, **inputs):
        passes[head] = inputs
        return (outputs or {}).get(head, inputs["image"][..., :1])

    stacks = {name: x[None] if isinstance(x, np.ndarray) else x for name, x in images.items()}
    return predict(apply, **stacks)[0], passes


# By the EXIF orientation, how an upright image [H, W, C] is stored.
STORED = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x, -1),
}


def orientation(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return exif
