import math

import numpy as np
import pytest
from PIL import Image

from matting_jax import data
from matting_jax.data.estimated import colours
from matting_jax.data.prepared.merge import lay_under_bilinear
from tests.data.groups import crop_group

SIZES = {"cat": (40, 60), "dog": (24, 30), "fgull": (33, 32)}
BACKGROUND_OF = {"cat": "wide", "dog": "large", "fgull": "tiny"}
BACKGROUNDS = {"wide": (20, 90), "large": (50, 70), "tiny": (5, 6)}


def noise(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Folders as PaddleSeg has them, with lists of each kind."""
    root = tmp_path / "set"
    for part in ("train/fg", "train/alpha", "trimap", "bg"):
        (root / part).mkdir(parents=True)
    for seed, (name, size) in enumerate(SIZES.items()):
        Image.fromarray(noise(seed, *size, 3)).save(root / f"train/fg/{name}.png")
        matte = name.replace("fg", "alpha") + ".png"
        Image.fromarray(noise(10 + seed, *size)).save(root / "train/alpha" / matte)
        Image.fromarray(noise(20 + seed, *size)).save(root / f"trimap/{name}.png")
    for seed, (name, size) in enumerate(BACKGROUNDS.items()):
        Image.fromarray(noise(30 + seed, *size, 3)).save(root / f"bg/{name}.png")
    photos = [f"train/fg/{name}.png" for name in SIZES]
    pairs = [
        f"{photo} bg/{BACKGROUND_OF[name]}.png" for photo, name in zip(photos, SIZES, strict=True)
    ]
    trimaps = [f"{pair} trimap/{name}.png" for pair, name in zip(pairs, SIZES, strict=True)]
    for kind, lines in {"photos": photos, "pairs": pairs, "trimaps": trimaps}.items():
        (root / f"{kind}.txt").write_text("".join(f"{line}\r\n" for line in [*lines, ""]))
    return root


@pytest.fixture
def config(config):
    config.data.crop = crop_group(size=16, windows=(16,))
    return config


def name_list(config, path, **fields):
    for part in ("train", "test"):
        config.data[part].update(list=str(path), **fields)


def read(folder, kind, name):
    alpha = name.replace("fg", "alpha")
    places = {"fg": f"train/fg/{name}", "alpha": f"train/alpha/{alpha}", "bg": f"bg/{name}"}
    with Image.open(folder / f"{places[kind]}.png") as image:
        return np.asarray(image)


def test_foregrounds_are_composited_with_the_background_of_their_line(config, folder):
    name_list(config, folder / "pairs.txt")
    source = data.train_source(config)
    expected = f"3 foregrounds over their backgrounds, {folder / 'pairs.txt'}"
    assert source.description == expected
    for record, name in enumerate(SIZES):
        foreground, alpha = source.foregrounds[record]
        np.testing.assert_array_equal(foreground, read(folder, "fg", name))
        np.testing.assert_array_equal(alpha, read(folder, "alpha", name))
    # Only the dog has a background that is not enlarged, so that its crops are slices of it.
    crops = [source.sample(1, np.random.default_rng(seed), config.data.crop) for seed in range(9)]
    foreground, background = read(folder, "fg", "dog"), read(folder, "bg", "large")
    for cut in crops:
        top, left = next(
            corner
            for corner in np.ndindex(9, 15)
            if (foreground[corner[0] :, corner[1] :][:16, :16] == cut["foreground"]).all()
        )
        cropped = background[top : top + 16, left : left + 16]
        np.testing.assert_array_equal(cut["background"], cropped)


def test_colours_of_a_foreground_of_many_lines_are_estimated_once(config, folder, monkeypatch):
    made = []
    monkeypatch.setattr(colours, "write_cutout", lambda image, *others: made.append(image.stem))
    (folder / "twice.txt").write_text("train/fg/cat.png bg/tiny.png\ntrain/fg/cat.png bg/wide.png")
    name_list(config, folder / "twice.txt")
    config.data.foreground_colours, config.data.workers = "estimate", 1
    assert len(data.train_source(config)) == 2 and made == ["cat"]


def test_lines_without_background_are_photos(config, folder):
    name_list(config, folder / "photos.txt")
    source = data.train_source(config)
    assert source.description == f"3 photos, {folder / 'photos.txt'}"
    tests = data.evaluation_images(config)
    for name, pair, image in zip(SIZES, source.pairs, tests, strict=True):
        assert image.name == name and image.trimap is None
        for ours, tested, kind in zip(pair, image[1:3], ("fg", "alpha"), strict=True):
            np.testing.assert_array_equal(ours, read(folder, kind, name))
            np.testing.assert_array_equal(tested, ours)


def test_test_images_are_composited_with_truncated_fractions(config, folder):
    name_list(config, folder / "pairs.txt")
    for name, image in zip(SIZES, data.evaluation_images(config), strict=True):
        alpha = read(folder, "alpha", name)
        cropped = lay_under_bilinear(read(folder, "bg", BACKGROUND_OF[name]), *alpha.shape).tolist()
        assert image.background.tolist() == cropped
        foreground = read(folder, "fg", name).tolist()
        weights = (alpha / 255).tolist()
        by_hand = [
            [
                [int(w * f + (1 - w) * b) for f, b in zip(*pixel, strict=True)]
                for w, *pixel in zip(*row, strict=True)
            ]
            for row in zip(weights, foreground, cropped, strict=True)
        ]
        np.testing.assert_array_equal(image.image, by_hand)
        np.testing.assert_array_equal(image.alpha, alpha)


@pytest.mark.parametrize("size", [(5, 6), (20, 90), (70, 31)])
def test_background_is_enlarged_bilinearly_and_cropped_at_the_top_left(size):
    background = noise(0, *size, 3)
    ratio = max(60 / size[1], 40 / size[0])
    larger = math.ceil(size[0] * ratio), math.ceil(size[1] * ratio)
    row, column = (
        np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        for new, old in zip(larger, size, strict=True)
    )
    y, x = row.astype(int).clip(0, size[0] - 2), column.astype(int).clip(0, size[1] - 2)
    down, across = (row - y)[:, None, None], (column - x)[:, None]
    corners = [[background[y + i][:, x + j] for j in (0, 1)] for i in (0, 1)]
    top, bottom = ((1 - across) * left + across * right for left, right in corners)
    expected = ((1 - down) * top + down * bottom)[:40, :60]
    ours = lay_under_bilinear(background, 40, 60)
    assert ours.shape == (40, 60, 3)
    np.testing.assert_allclose(ours, expected, atol=0.501)
    large = noise(1, 50, 70, 3)
    np.testing.assert_array_equal(lay_under_bilinear(large, 40, 60), large[:40, :60])


def test_column_of_trimaps_is_used_only_for_testing(config, folder):
    name_list(config, folder / "trimaps.txt")
    for name, image in zip(SIZES, data.evaluation_images(config), strict=True):
        with Image.open(folder / f"trimap/{name}.png") as trimap:
            grey = np.asarray(trimap)
        np.testing.assert_array_equal(image.trimap == 255, grey >= 170)
        np.testing.assert_array_equal(image.trimap == 0, grey < 85)
    for path in (folder / "trimap").iterdir():
        path.unlink()
    assert len(data.train_source(config)) == 3
    with pytest.raises(ValueError, match="3 faults in config.data.test.list"):
        data.evaluation_images(config)


def test_list_takes_its_root_and_separator(config, folder, tmp_path):
    (folder / "train/fg/cat.png").rename(folder / "train/fg/a cat.png")
    (folder / "train/alpha/cat.png").rename(folder / "train/alpha/a cat.png")
    path = tmp_path / "list.txt"
    path.write_text("train/fg/a cat.png|bg/wide.png\n")
    name_list(config, path, root=str(folder), separator="|")
    assert data.train_source(config).foregrounds[0][0].shape == (40, 60, 3)
    assert [image.name for image in data.evaluation_images(config)] == ["a cat"]
    name_list(config, path, separator="")
    with pytest.raises(ValueError, match="first 'train/fg/a' in line 1: .*train.separator if"):
        data.train_source(config)
    name_list(config, path, root=str(tmp_path), separator="|")
    with pytest.raises(ValueError, match="first 'train/fg/a cat.png' .* set .*test.root"):
        data.evaluation_images(config)
    config.data.train.root = str(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="config.data.train.root: there is no folder .*nowhere"):
        data.train_source(config)


def test_root_may_be_the_folder_of_foregrounds(config, folder):
    (folder / "names.txt").write_text("dog.png\n")
    name_list(config, folder / "names.txt", root=str(folder / "train/fg"))
    np.testing.assert_array_equal(
        data.train_source(config).pairs[0][1], read(folder, "alpha", "dog")
    )


def test_fg_in_the_name_of_the_root_is_not_replaced(config, folder):
    moved = folder.rename(folder.parent / "fg_set")
    name_list(config, moved / "photos.txt")
    assert len(data.train_source(config)) == 3


def test_images_of_equal_names_are_numbered_by_line(config, folder):
    lines = (folder / "pairs.txt").read_text().splitlines()
    (folder / "pairs.txt").write_text("\n".join([lines[0], "", lines[1], lines[0]]))
    name_list(config, folder / "pairs.txt")
    names = [image.name for image in data.evaluation_images(config)]
    assert names == ["cat_1", "dog_3", "cat_4"]


def test_faults_are_listed_by_line_or_skipped(config, folder):
    Image.new("L", (9, 8)).save(folder / "train/alpha/dog.png")
    Image.new("L", (7, 6), 128).save(folder / "trimap/fgull.png")
    (folder / "bg/tiny.png").write_bytes(b"")
    lines = [
        "train/fg/cat.png bg/wide.png trimap/cat.png",
        "train/fg/dog.png bg/large.png",
        "train/fg/fgull.png bg/wide.png trimap/fgull.png",
        "train/fg/cat.png bg/tiny.png",
        "train/fg/cat.png bg/lost.png",
        "train/fg/cat.png bg/wide.png trimap/cat.png 1",
        "train/fg/cat.png  bg/wide.png",
        "bg/large.png bg/large.png",
    ]
    path = folder / "bad.txt"
    path.write_text("\n".join(lines))
    name_list(config, path)
    with pytest.raises(ValueError, match="7 faults in config.data.test.list") as error:
        data.evaluation_images(config)
    for fault in (
        f"{path}, line 2: {folder / 'train/fg/dog.png'}: 30 x 24 pixels, but its alpha has 9 x 8",
        f"line 3: {folder / 'train/fg/fgull.png'}: 32 x 33 pixels, but its trimap has 7 x 6",
        f"line 4: cannot read the image {folder / 'bg/tiny.png'}: the file is empty",
        f"line 5: there is no file {folder / 'bg/lost.png'}",
        "line 6: 4 columns, but a line is foreground, background, trimap",
        "line 7: 3 columns",
        "line 8: bg/large.png has no /fg in its path",
    ):
        assert fault in str(error.value)
    with pytest.raises(ValueError, match="6 faults in config.data.train.list"):
        data.train_source(config)
    config.data.skip_bad = True
    assert [image.name for image in data.evaluation_images(config)] == ["cat"]
    assert len(data.train_source(config)) == 2


def test_invalid_lists_raise(config, folder):
    path = folder / "list.txt"
    name_list(config, path)
    with pytest.raises(ValueError, match="config.data.train.list: there is no file .*list.txt"):
        data.train_source(config)
    path.write_text("\n \n")
    with pytest.raises(ValueError, match="config.data.test.list: .*list.txt is empty"):
        data.evaluation_images(config)
    path.write_bytes("train/fg/cat.png\ntrain/fg/café.png".encode("latin1"))
    with pytest.raises(ValueError, match=r"list.txt is not UTF-8 \(byte 0xe9 in line 2\): save it"):
        data.train_source(config)
    path.write_text("train/fg/cat.png\n\ntrain/fg/dog.png bg/wide.png")
    with pytest.raises(ValueError, match=r"a background \(line 3\) and lines without \(line 1\)"):
        data.train_source(config)
    config.data.train.images = config.data.test.images = str(folder)
    with pytest.raises(ValueError, match="config.data.train.list or config.data.train.images, not"):
        data.train_source(config)
    with pytest.raises(ValueError, match="config.data.test.list or config.data.test.images, not"):
        data.evaluation_images(config)
