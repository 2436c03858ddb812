import os
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from matting_jax.evaluation.report import TOO_HIGH, TOO_LOW, digits, error_map, tiles, write_page
from matting_jax.evaluation.scores import Case, write_csv

ROWS = [
    {"name": "low", "sad": 0.5, "mse": 0.1},
    {"name": "none", "sad": float("nan"), "mse": 0.2},
    {"name": '<b onload="x">&', "sad": 7.25, "mse": 0.05},
]


class Page(HTMLParser):
    """The headings of the images, the pictures and the tags of a page, in order."""

    def __init__(self, text):
        super().__init__()
        self.names, self.pictures, self.tags, self.inside = [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.inside = tag
        if tag == "section":
            self.names.append("")
        if tag == "img":
            self.pictures.append(dict(attributes))

    def handle_data(self, data):
        if self.inside == "h2" and self.names:
            self.names[-1] += data

    def handle_endtag(self, tag):
        self.inside = None


@pytest.fixture
def page(tmp_path):
    """A page of ROWS, and its folder; only the first image has a photo."""
    truth = np.zeros((200, 640), np.float32)
    for number in range(3):
        photo = np.zeros((200, 640, 3), np.uint8) if number == 0 else None
        for name, tile in tiles(Case("x", truth, truth, photo=photo)).items():
            (tmp_path / "tiles").mkdir(exist_ok=True)
            tile.save(tmp_path / "tiles" / f"{number}_{name}")
    write_page(tmp_path, "a <i> against b", "matlab", ROWS, ["1 < 2"])
    return (tmp_path / "index.html").read_text(), tmp_path


def test_worst_image_is_first_and_one_without_a_score_last(page):
    assert Page(page[0]).names == ['<b onload="x">&', "low", "none"]


def test_names_and_titles_are_escaped(page):
    assert "i" not in Page(page[0]).tags and "b" not in Page(page[0]).tags
    assert "a &lt;i&gt; against b" in page[0] and "1 &lt; 2" in page[0]


def test_names_that_are_no_utf8_are_written_escaped(tmp_path):
    rows = [{"name": os.fsdecode(b"caf\xe9"), "sad": 0.5}]
    write_page(tmp_path, os.fsdecode(b"\xe9"), "matlab", rows, [])
    write_csv(tmp_path / "scores.csv", rows)
    for name in ("index.html", "scores.csv"):
        assert r"caf\udce9" in (tmp_path / name).read_text(encoding="utf-8")


def test_every_picture_exists_with_the_size_in_the_page(page):
    text, folder = page
    pictures = Page(text).pictures
    assert [x["alt"] for x in pictures] == ["truth", "prediction", "error"] + [
        "photo",
        "truth",
        "prediction",
        "error",
    ] + ["truth", "prediction", "error"]
    for picture in pictures:
        size = Image.open(folder / picture["src"]).size
        assert size == (320, 100) == (int(picture["width"]), int(picture["height"]))


def test_page_needs_no_network(page):
    assert "//" not in page[0] and "link" not in Page(page[0]).tags


def test_means_omit_nan(page):
    head = page[0].partition("<main>")[0]
    assert digits((0.5 + 7.25) / 2) in head and digits(0.35 / 3) in head and "NaN" not in head


def test_error_of_one_pixel_is_visible_in_a_small_map():
    truth = np.full((600, 900), 0.5, np.float32)
    prediction = truth.copy()
    prediction[100, 250] += 0.25
    prediction[400, 611] -= 0.25
    picture = error_map(prediction, truth, (300, 200))
    np.testing.assert_array_equal(picture[100 // 3, 250 // 3], np.rint(np.array(TOO_HIGH) / 2))
    np.testing.assert_array_equal(picture[400 // 3, 611 // 3], np.rint(np.array(TOO_LOW) / 2))
    assert np.count_nonzero(picture.any(-1)) == 2


@pytest.mark.parametrize(
    "value, text",
    [
        (0.0, "0.000"),
        (101.04, "101.0"),
        (999.97, "1000"),
        (12345.6, "12346"),
        (3.1234e-5, "0.00003123"),
        (float("nan"), "NaN"),
        (None, ""),
    ],
)
def test_scores_have_four_digits(value, text):
    assert digits(value) == text
