"""What a file says of its pixels is what is read: profiles, modes, depths and orientations."""

import io
import logging
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from matting_jax.data.files.images import (
    NEUTRAL,
    read_alpha,
    read_image,
    read_photo,
    read_rgba,
)
from matting_jax.data.files.wide import read_exact_alpha
from tests.helpers import STORED, orientation, png, write_png16
from tests.profiles import (
    CASES,
    GREYS,
    PROFILES,
    SRGB,
    cmyk_profile,
    converted,
    grey_profile,
    ink_colours,
)


def stored(upright, number, **options):
    """Returns a stream with an upright array stored as its EXIF orientation says."""
    stream = io.BytesIO()
    pixels = np.ascontiguousarray(STORED[number](upright)).squeeze()
    image = Image.fromarray(pixels, options.pop("mode", None))
    image.save(stream, exif=orientation(number), **{k: v for k, v in options.items() if v})
    stream.seek(0)
    return stream


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["L", "LA", "RGB", "RGBA"]),
    st.sampled_from(["PNG", "TIFF", "WEBP"]),
    st.sampled_from(range(1, 9)),
    st.sampled_from(sorted(PROFILES)),
)
def test_any_mode_and_orientation_is_read_in_srgb(seed, mode, kind, number, name):
    channels = len(mode)
    if kind == "WEBP" and channels < 3 or kind == "TIFF" and mode == "LA":
        return
    upright = np.random.default_rng(seed).integers(0, 256, (5, 4, channels), np.uint8)
    lossless = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    icc = PROFILES[name]
    options = dict(format=kind, icc_profile=icc, **lossless)
    colours = upright[..., :3] if channels > 2 else np.repeat(upright[..., :1], 3, -1)
    expected = converted(np.ascontiguousarray(colours), icc)
    for profile, wanted in (("srgb", expected), ("ignore", colours)):
        rgba = read_rgba(stored(upright, number, **options), profile)
        assert np.abs(rgba[..., :3].astype(int) - wanted).max() <= 1
        alpha = upright[..., -1] if channels in (2, 4) else 255
        assert (rgba[..., 3] == alpha).all()
    if name in ("", "srgb"):  # bit for bit as without a profile
        np.testing.assert_array_equal(
            read_image(stored(upright, number, **options)), colours, err_msg=mode
        )
    image, opacity = read_photo(stored(upright, number, **options))
    shown = rgba[..., 3] > 0
    assert (image[~shown] == NEUTRAL).all()
    assert np.abs(image[shown].astype(int) - expected[shown]).max(initial=0) <= 1
    assert opacity is None if (rgba[..., 3] == 255).all() else (opacity == rgba[..., 3]).all()


# What Pillow writes without loss, by format; PNG, TIFF and WEBP hold profile and orientation.
HELD = {
    "PNG": ["1", "L", "LA", "P", "P with transparency", "RGB", "RGBA", "I;16"],
    "TIFF": ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I;16B", "I"],
    "WEBP": ["RGB", "RGBA"],
    "BMP": ["1", "L", "P", "RGB"],
    "GIF": ["1", "L", "P", "P with transparency"],
    "PPM": ["1", "L", "RGB", "I;16"],
    "TGA": ["1", "L", "LA", "P", "RGB", "RGBA"],
    "JPEG2000": ["L", "LA", "RGB", "RGBA", "I;16"],
}
WITH_PROFILE = ("PNG", "TIFF", "WEBP")
BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def drawn(rng, mode):
    """Returns a random image of a mode, with its profiles by name."""
    pixels = rng.integers(0, 256, (5, 4, 4), np.uint8)
    grey, opacity = Image.fromarray(pixels[..., 0]), Image.fromarray(pixels[..., 3])
    colours = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
    if mode.startswith("I"):
        wide = pixels[..., 0] * np.uint16(257)
        if mode == "I":
            return Image.fromarray(wide.astype(np.int32)), GREYS
        return Image.frombytes(mode, (4, 5), wide.astype(">u2" if "B" in mode else "<u2")), GREYS
    if mode in ("1", "L"):
        return grey.convert(mode), GREYS | PROFILES
    if mode == "LA":
        return Image.merge("LA", (grey, opacity)), GREYS | PROFILES
    if mode == "CMYK":
        return Image.frombytes("CMYK", (4, 5), pixels.tobytes()), {"": b"", "inks": cmyk_profile()}
    if mode == "LAB":
        to_lab = ImageCms.buildTransform(SRGB, ImageCms.createProfile("LAB"), "RGB", "LAB")
        return to_lab.apply(colours), {"": b""}
    if mode in ("P", "PA", "P with transparency"):
        palette = colours.quantize(9)
        if mode == "PA":
            palette = palette.convert("PA")
            palette.putalpha(opacity)
        elif mode != "P":
            palette.info["transparency"] = 3
        return palette, PROFILES
    image = colours.convert(mode)
    if mode == "RGBA":
        image.putalpha(opacity)
    return image, PROFILES


def in_srgb(image, icc):
    """Returns the colours [H, W, 3] of an image by Pillow and Little CMS alone, and its alpha."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.mode == "LAB":
        back = ImageCms.buildTransform(ImageCms.createProfile("LAB"), SRGB, "LAB", "RGB")
        image = back.apply(image)
    rgba = np.asarray(image.convert("RGBA"))
    source = icc and ImageCms.ImageCmsProfile(io.BytesIO(icc))
    if not icc:
        return rgba[..., :3], rgba[..., 3]
    if source.profile.xcolor_space == "CMYK":
        return np.asarray(ImageCms.profileToProfile(image, source, SRGB, outputMode="RGB")), 255
    grey = source.profile.xcolor_space == "GRAY"
    colours = rgba[..., 0] if grey else rgba[..., :3]
    return converted(np.ascontiguousarray(colours), icc), rgba[..., 3]


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_file_that_pillow_writes_is_read_as_the_same_picture_in_srgb(data):
    kind = data.draw(st.sampled_from(sorted(HELD)))
    mode = data.draw(st.sampled_from(HELD[kind]))
    image, profiles = drawn(np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))), mode)
    number, icc, options = 1, b"", {}
    if kind in WITH_PROFILE:
        number = data.draw(st.sampled_from(range(1, 9)))
        icc = profiles[data.draw(st.sampled_from(sorted(profiles)))]
        options = {"exif": orientation(number)} | ({"icc_profile": icc} if icc else {})
    if kind == "WEBP":
        options |= {"lossless": True, "exact": True}
    expected, alpha = in_srgb(image.copy(), icc)  # converting changes the palette
    info = image.info
    if number > 1:
        image = image.transpose(BACK[number])
        image.info = info
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    rgba = read_rgba(stream).astype(int)
    assert np.abs(rgba[..., :3] - expected).max() <= (2 if mode in ("CMYK", "LAB") else 1)
    assert (rgba[..., 3] == alpha).all()
    if mode not in ("LAB",) and not icc:
        assert (rgba[..., :3] == expected).all()


WIDE = st.sampled_from([("", 1), ("adobe", 3), ("p3", 3), ("gamma 1.8", 1), ("adobe", 1)])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), WIDE, st.booleans(), st.sampled_from(range(1, 9)))
def test_files_of_16_bits_are_read_as_those_of_8(seed, said, transparent, number):
    """Pillow keeps the upper 8 bits of colours, and conversion rounds once more."""
    (name, channels), profiles = said, PROFILES | GREYS
    rng = np.random.default_rng(seed)
    upright = rng.integers(0, 256, (5, 4, channels + transparent), np.uint8)
    stored = np.ascontiguousarray(STORED[number](upright))
    files = []
    for pixels in (stored, stored * np.uint16(257)):
        chunks = [(b"eXIf", orientation(number).tobytes().removeprefix(b"Exif\0\0"))]
        if profiles[name]:
            body = b"icc\0\0" + zlib.compress(profiles[name])
            chunks.append((b"iCCP", body))
        rows = b"".join(b"\0" + row.astype(f">u{pixels.itemsize}").tobytes() for row in pixels)
        header = (
            *stored.shape[1::-1],
            8 * pixels.itemsize,
            {1: 0, 2: 4, 3: 2, 4: 6}[pixels.shape[2]],
        )
        files.append(io.BytesIO(png(header, *chunks, (b"IDAT", zlib.compress(rows)))))
    narrow, wide = (read_rgba(file).astype(int) for file in files)
    assert np.abs(narrow - wide).max() <= 1
    assert (wide[..., 3] == (upright[..., -1] if transparent else 255)).all()


def test_inks_with_a_profile_have_its_colours():
    """Also those of a JPEG by Adobe, which stores them inverted."""
    inks = np.stack(np.meshgrid(*[[0, 255]] * 4, indexing="ij"), -1).reshape(1, 16, 4)
    image = Image.frombytes("CMYK", (16, 1), inks.astype(np.uint8).tobytes()).resize((256, 16), 0)
    expected = 255 * ink_colours().reshape(16, 3)
    naive = np.asarray(image.convert("RGB"))[8, 8::16]
    assert np.abs(naive - expected).max() > 60
    for kind, options in (("TIFF", {}), ("JPEG", {"quality": 100, "subsampling": 0})):
        stream = io.BytesIO()
        image.save(stream, kind, icc_profile=cmyk_profile(), **options)
        if kind == "JPEG":
            assert b"Adobe" in stream.getvalue()
        read = read_image(stream)[8, 8::16]
        assert np.abs(read - expected).max() <= 8  # black point, and 8 bits of L*a*b*
        assert (read[0] == 255).all()
        np.testing.assert_array_equal(read_image(stream, "ignore")[8, 8::16], naive)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(GREYS)), st.sampled_from([8, 16]))
def test_grey_photos_are_read_in_srgb_at_any_depth(seed, name, bits):
    wide = np.random.default_rng(seed).integers(0, 65536, (5, 4), np.uint16)
    icc = GREYS[name]
    if bits == 8:
        grey, fine = (wide >> 8).astype(np.uint8), (wide >> 8) / 255
    else:
        grey, fine = wide, wide / 65535
    gamma = float(name.removeprefix("gamma ") or 0)
    linear = fine**gamma
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    expected = 255 * (srgb if gamma else fine)
    read = read_image(stored(grey, 1, format="PNG", icc_profile=icc))
    assert read.shape == (5, 4, 3)
    assert np.abs(read - expected[..., None]).max() <= 1


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["1", "L", "P", "RGB", "LA", "RGBA", "I;16"]),
    st.sampled_from(range(1, 9)),
    st.booleans(),
)
def test_alpha_of_any_mode_is_what_was_written(seed, mode, number, opaque):
    """Colour profiles do not apply to it, and an opaque alpha channel is an alpha too."""
    rng = np.random.default_rng(seed)
    alpha = rng.integers(0, 256, (5, 4), np.uint8)
    if mode == "1":
        alpha = np.where(alpha > 127, 255, 0).astype(np.uint8)
    if opaque and mode in ("LA", "RGBA"):
        alpha[:] = 255
    image = Image.fromarray(alpha)
    if mode == "I;16":
        image = Image.fromarray(alpha.astype(np.uint16) * 257)
    elif mode in ("LA", "RGBA"):
        colours = Image.fromarray(rng.integers(0, 256, (5, 4, len(mode) - 1), np.uint8).squeeze())
        image = Image.merge(mode, (*colours.split(), image))
    elif mode != "L":
        image = image.convert(mode)
    upright = np.asarray(image)
    if mode in ("1", "P"):  # such images have no array that Pillow stores in the same mode
        number = 1
    stream = io.BytesIO()
    if number > 1:
        image = Image.fromarray(np.ascontiguousarray(STORED[number](upright)))
    image.save(stream, "PNG", exif=orientation(number), icc_profile=PROFILES["adobe"])
    for read, wanted in ((read_alpha, alpha), (read_exact_alpha, np.float32(alpha) / 255)):
        stream.seek(0)
        np.testing.assert_allclose(read(stream), wanted, atol=1e-7)


def test_adobe_and_p3_photos_of_the_same_bytes_differ():
    folder = CASES / "colour_profile" / "photos"
    images = [read_image(folder / name) for name in ("srgb.png", "adobe.png", "p3.jpg")]
    for i, image in enumerate(images):
        assert all(np.abs(image.astype(int) - other).max() > 4 for other in images[:i])
    with Image.open(folder / "adobe.png") as image:
        np.testing.assert_array_equal(read_image(folder / "adobe.png", "ignore"), image)


def test_adobe_rgb_is_converted_to_the_known_colour(tmp_path):
    Image.new("RGB", (3, 2), (220, 60, 50)).save(tmp_path / "a.png", icc_profile=PROFILES["adobe"])
    assert np.abs(read_image(tmp_path / "a.png") - [254.0, 57, 46]).max() <= 2


def test_palette_with_a_profile_is_converted_by_its_colours(tmp_path):
    image = Image.new("RGB", (4, 4), (220, 60, 50)).quantize(2)
    image.save(tmp_path / "a.png", icc_profile=PROFILES["adobe"])
    assert np.abs(read_image(tmp_path / "a.png") - [254.0, 57, 46]).max() <= 2


def test_lab_is_read_in_srgb(tmp_path):
    lab = Image.new("RGB", (4, 4), (220, 60, 50))
    transform = ImageCms.buildTransform(SRGB, ImageCms.createProfile("LAB"), "RGB", "LAB")
    transform.apply(lab).save(tmp_path / "a.tif")
    assert np.abs(read_image(tmp_path / "a.tif") - [220.0, 60, 50]).max() <= 3


@pytest.mark.parametrize(
    "icc", [b"no profile", PROFILES["adobe"][:200], grey_profile(1.8)], ids=["text", "cut", "grey"]
)
def test_profile_that_cannot_be_used_is_reported_once_and_ignored(tmp_path, caplog, icc):
    icc = icc + tmp_path.name.encode()  # another one in each run
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    for name in ("a.png", "b.png"):
        Image.fromarray(pixels).save(tmp_path / name, icc_profile=icc)
    with caplog.at_level(logging.WARNING, "matting_jax"):
        for name in ("a.png", "b.png", "a.png"):
            np.testing.assert_array_equal(read_image(tmp_path / name), pixels)
    assert len(caplog.records) == 1
    assert f"{tmp_path / 'a.png'}: its colour profile cannot be used" in caplog.text


def test_invalid_choice_of_profile_raises():
    with pytest.raises(ValueError, match="config.data.colour_profile"):
        read_image(CASES / "colour_profile/photos/srgb.png", "adobe")


def test_wide_colours_with_a_profile_are_converted(tmp_path):
    pixels = np.broadcast_to(np.uint16([220, 60, 50]) * 257, (3, 4, 3))
    write_png16(tmp_path / "a.png", pixels)
    data = (tmp_path / "a.png").read_bytes()
    stream = io.BytesIO()
    Image.new("RGB", (1, 1)).save(stream, "PNG", icc_profile=PROFILES["adobe"])
    other = stream.getvalue()
    start = other.index(b"iCCP") - 4
    length = int.from_bytes(other[start : start + 4]) + 12
    (tmp_path / "a.png").write_bytes(data[:33] + other[start : start + length] + data[33:])
    assert np.abs(read_image(tmp_path / "a.png") - [254.0, 57, 46]).max() <= 2
