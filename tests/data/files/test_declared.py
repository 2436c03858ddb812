"""Colour spaces that files name without an ICC profile: PNG's chunks, HEIC, AVIF, EXIF, JP2."""

import io
import logging
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from matting_jax.data.files import formats, spaces
from matting_jax.data.files.images import has_profile, read_alpha, read_image
from tests.helpers import png, png_chunk
from tests.profiles import PROFILES, converted

# Published matrices from linear values of a space to those of sRGB.
MATRICES = {
    "sRGB": np.eye(3),
    "Display P3": [[1.2249, -0.2247, 0], [-0.0420, 1.0419, 0], [-0.0197, -0.0786, 1.0979]],
    "Adobe RGB": [[1.3983, -0.3983, 0], [0, 1, 0], [0, -0.0429, 1.0429]],
    "BT.2020": [
        [1.6605, -0.5876, -0.0728],
        [-0.1246, 1.1329, -0.0083],
        [-0.0182, -0.1006, 1.1187],
    ],
}
P3_CORNERS = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)


def by_hand(rgb, space, gamma=None):
    """Converts RGB in [0, 255] to sRGB by the formulas; `gamma` None is sRGB's curve."""
    stored = rgb / 255
    curve = np.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4)
    linear = curve if gamma is None else stored**gamma
    linear = np.clip(linear @ np.transpose(MATRICES[space]), 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def gama(value):
    return b"gAMA", struct.pack(">I", value)


def chrm(corners):
    return b"cHRM", struct.pack(">8I", *(round(100_000 * x) for x in corners))


def cicp(*numbers):
    return b"cICP", bytes(numbers)


def png_of(pixels, *chunks):
    """Returns a stream with uint8 or uint16 pixels [H, W, C] as a PNG with further chunks."""
    height, width, channels = pixels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(f">u{pixels.itemsize}").tobytes() for row in pixels)
    header = (width, height, 8 * pixels.itemsize, kind)
    return io.BytesIO(png(header, *chunks, (b"IDAT", zlib.compress(rows))))


def noise(seed=0, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (6, 5, channels), np.uint8)


SRGB_CHUNK = (b"sRGB", b"\0")
DECLARED = [
    ((gama(45455),), "sRGB", None),
    ((gama(45000), chrm(spaces.SRGB)), "sRGB", None),
    ((gama(100000),), "sRGB", 1.0),
    ((gama(55556),), "sRGB", 1.8),
    ((gama(45471), chrm(spaces.ADOBE_RGB)), "Adobe RGB", 563 / 256),
    ((gama(45455), chrm(P3_CORNERS)), "Display P3", 2.2),
    ((chrm(P3_CORNERS),), "sRGB", None),  # without an exponent its meaning is open
    ((SRGB_CHUNK, gama(100000), chrm(P3_CORNERS)), "sRGB", None),
    ((cicp(1, 13, 0, 1),), "sRGB", None),
    ((cicp(1, 1, 0, 1),), "sRGB", None),
    ((cicp(12, 13, 0, 1),), "Display P3", None),
    ((cicp(9, 8, 0, 1),), "BT.2020", 1.0),
    ((cicp(12, 13, 0, 1), SRGB_CHUNK, gama(45455)), "Display P3", None),
    ((gama(0),), "sRGB", None),
    ((gama(45455), chrm((0.3127, 0.3290, 0, 0, 0, 0, 0, 0))), "sRGB", None),
]


@pytest.mark.parametrize("chunks, space, gamma", DECLARED)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_chunks_of_a_png_are_read_by_their_formulas(chunks, space, gamma, channels, dtype):
    stored = noise(channels=channels)
    stream = png_of(stored if dtype is np.uint8 else stored * np.uint16(257), *chunks)
    colours = np.broadcast_to(stored[..., : 3 if channels > 2 else 1], (6, 5, 3))
    wanted = colours if (space, gamma) == ("sRGB", None) else by_hand(colours, space, gamma)
    assert np.abs(read_image(stream) - wanted).max() <= 1.6
    assert has_profile(stream) == (wanted is not colours)
    if wanted is colours:
        np.testing.assert_array_equal(read_image(stream), colours)
    np.testing.assert_array_equal(read_image(stream, "ignore"), colours)
    if channels in (2, 4):  # numbers, which no colour space changes
        np.testing.assert_array_equal(read_alpha(stream), stored[..., -1])
    elif channels == 1:
        np.testing.assert_array_equal(read_alpha(stream), stored[..., 0])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 1.1), st.sampled_from(sorted(MATRICES)))
def test_any_gamma_and_primaries_are_read_by_the_formulas(seed, gamma, space):
    corners = {"Display P3": P3_CORNERS, "BT.2020": spaces.PRIMARIES[9]}.get(space)
    corners = corners or {"sRGB": spaces.SRGB, "Adobe RGB": spaces.ADOBE_RGB}[space]
    stored = noise(seed)
    chunk = gama(round(100_000 * gamma))
    stream = png_of(stored, chunk, chrm(corners))
    near = space == "sRGB" and abs(2.2 * gamma - 1) <= 0.0501
    expected = stored if near else by_hand(stored, space, 1 / gamma)
    assert np.abs(read_image(stream) - expected).max() <= 1.6 or near


def test_profile_of_a_png_stands_above_srgb_and_below_cicp(tmp_path):
    stored = noise()
    Image.fromarray(stored).save(tmp_path / "a.png", icc_profile=PROFILES["adobe"])
    data = (tmp_path / "a.png").read_bytes()
    adobe = converted(stored, PROFILES["adobe"]).astype(int)
    for chunk, wanted in (
        (SRGB_CHUNK, adobe),
        (cicp(12, 13, 0, 1), by_hand(stored, "Display P3")),
        (cicp(9, 16, 0, 1), adobe),
    ):
        stream = io.BytesIO(data[:33] + png_chunk(*chunk) + data[33:])
        assert np.abs(read_image(stream) - wanted).max() <= 1.6


@pytest.mark.parametrize(
    "numbers, words", [((9, 16, 0, 1), "PQ"), ((9, 18, 0, 1), "HLG"), ((1, 13, 0, 0), "video")]
)
def test_colours_without_a_meaning_in_8_bits_are_reported_and_ignored(
    tmp_path, caplog, numbers, words
):
    from matting_jax.data.files.profiles import report_once

    report_once.cache_clear()
    path, stored = tmp_path / "a.png", noise()
    path.write_bytes(png_of(stored, cicp(*numbers)).getvalue())
    with caplog.at_level(logging.WARNING, "matting_jax"):
        for _ in range(2):
            np.testing.assert_array_equal(read_image(path), stored)
    assert len(caplog.records) == 1 and f"{path}: its colour profile" in caplog.text
    assert words in caplog.text


def exif_of(space, index):
    """Returns EXIF data with ColorSpace and, if given, InteropIndex."""
    exif = Image.Exif()
    exif[0x0112] = 1
    exif[0x8769] = {0xA001: space} | ({0xA005: {1: index}} if index else {})
    return exif.tobytes()


@pytest.mark.parametrize(
    "space, index, adobe",
    [
        (65535, "R03", True),
        (2, None, True),
        (1, "R98", False),
        (1, "R03", False),
        (65535, None, False),
        (65535, "R98", False),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_adobe_rgb_by_exif_alone_is_converted(space, index, adobe, kind):
    if kind == "TIFF" and index:
        pytest.skip("Pillow does not write this folder of EXIF into TIFF")
    stored = np.full((16, 16, 3), (220, 60, 50), np.uint8)
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}
    stream = io.BytesIO()
    Image.fromarray(stored).save(stream, kind, exif=exif_of(space, index), **options.get(kind, {}))
    wanted = by_hand(stored, "Adobe RGB", 563 / 256) if adobe else stored
    assert np.abs(read_image(stream) - wanted).max() <= 2.5
    assert has_profile(stream) == adobe
    embedded = io.BytesIO()  # an ICC profile counts, not what EXIF says beside it
    Image.fromarray(stored).save(
        embedded, kind, exif=exif_of(space, index), icc_profile=PROFILES["p3"]
    )
    wanted = converted(stored, PROFILES["p3"]).astype(int)
    assert np.abs(read_image(embedded) - wanted).max() <= 5


@pytest.mark.parametrize(
    "numbers, space", [((1, 13), "sRGB"), ((12, 13), "Display P3"), ((2, 2), "sRGB")]
)
@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_numbers_in_the_boxes_of_heic_and_avif_are_read(numbers, space, kind):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif")
        formats.register_extras()
    elif not features.check("avif"):
        pytest.skip("Pillow is built without AVIF")
    stored = np.full((64, 64, 3), (220, 60, 50), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(stored).save(stream, kind, quality=95)
    data = bytearray(stream.getvalue())
    place = data.index(b"colrnclx") + 8
    data[place : place + 4] = struct.pack(">HH", *numbers)
    assert np.abs(read_image(io.BytesIO(data)) - by_hand(stored, space)).max() <= 5
    np.testing.assert_array_equal(
        read_image(io.BytesIO(data), "ignore"), read_image(stream, "ignore")
    )


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "JPEG2000"])
def test_profile_of_other_containers_is_converted(kind):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif")
        formats.register_extras()
    elif kind == "AVIF" and not features.check("avif"):
        pytest.skip("Pillow is built without AVIF")
    stored = np.full((64, 64, 3), (220, 60, 50), np.uint8)
    stream = io.BytesIO()
    options = {} if kind == "JPEG2000" else {"quality": 95, "icc_profile": PROFILES["adobe"]}
    Image.fromarray(stored).save(stream, kind, **options)
    if kind == "JPEG2000":  # Pillow does not write the profile there
        data, profile = stream.getvalue(), b"\2\0\0" + PROFILES["adobe"]
        place = data.index(b"colr") - 4
        length = int.from_bytes(data[place : place + 4])
        box = struct.pack(">I", 8 + len(profile)) + b"colr" + profile
        outer = data.index(b"jp2h") - 4
        size = int.from_bytes(data[outer : outer + 4]) + len(box) - length
        data = data[:place] + box + data[place + length :]
        stream = io.BytesIO(data[:outer] + struct.pack(">I", size) + data[outer + 4 :])
    assert np.abs(read_image(stream) - [254, 57, 46]).max() <= 5


def test_built_profiles_are_those_that_files_embed():
    colours = noise(1)
    for corners, name in ((spaces.ADOBE_RGB, "adobe"), (P3_CORNERS, "p3")):
        built = converted(colours, spaces.matrix_profile(corners, 563 / 256)).astype(int)
        assert np.abs(built - converted(colours, PROFILES[name])).max() <= 2
