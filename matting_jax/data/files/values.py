"""Checks the values of alphas, trimaps and photos: those that cannot be meant raise errors.

Values are those of the file, [H, W] in 0 to `full`, which is 255 or 65535.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from matting_jax.data.files.images import (
    File,
    alpha_of,
    is_wide_grey,
    open_with,
    to_eight_bits,
    wide_values,
)
from matting_jax.data.files.trimaps import grey_of_trimap
from matting_jax.data.files.wide import wide_colours

# What a file is used as.
ROLES = ("photo", "foreground", "alpha", "prediction", "trimap", "label")
CHECKED = ("photo", "foreground", "alpha", "prediction", "trimap")
# Largest value of an alpha that can only be the number of a class.
LARGEST_CODE = 2
# Most classes of common data sets are below; alphas as faint as this have all values in between.
LARGEST_CLASS = 20
VOID = 255  # of pixels without a class
MOST_LABELLED = 0.01  # share of pixels above which numbers other than VOID are classes
PERCENT = 100
FEW = 0.005  # share of pixels above 0 below which a prediction has no subject
BITS = {1023: 10, 4095: 12, 16383: 14}  # by the largest value in a file of 16 bits


def check_values(file: File, role: str, *, predicting: bool = False) -> str:
    """Checks the values of a file that is used as `role`.

    Args:
        file: the file.
        role: one of ROLES.
        predicting: whether a network predicts from the trimap, which needs a known pixel then.

    Returns:
        A warning for values that may be meant, or "".

    Raises:
        ValueError: with the file's name, for values that cannot be meant: the message describes
            them and says how to convert them.
    """
    if role not in CHECKED:
        return ""
    values, full, of_colours = open_with(file, lambda image: stored_values(image, role))
    check = {"trimap": check_trimap, "photo": check_photo}.get(role, check_alpha)
    fault, warning = check(values, full)
    if role == "prediction" and is_faint(values, full):
        fault, warning = "", f"its alpha is at most {values.max()} of {full}"
    wide = wide_colours(file)
    if wide is not None and (largest := int(wide.max())):
        fault = check_wide(wide, largest)[0] or fault
    if predicting and warning == NO_KNOWN:
        fault = f"{warning}: mark some background as 0 and some foreground as 255"
    if fault:
        raise ValueError(f"{file}: {fault}")
    return warning or of_colours


def stored_values(image: Image.Image, role: str) -> tuple[np.ndarray, int, str]:
    """Returns the values of an image, their largest possible one, and a warning.

    Those of a photo are its transparency or its grey values of 16 bits; of others one white pixel,
    because all colours of 8 bits may be meant.
    """
    if role == "photo" and not image.mode.startswith("I") and not image.has_transparency_data:
        return np.full((1, 1), 255), 255, ""
    if role == "foreground" and not image.has_transparency_data:
        return np.full((1, 1), 255), 255, ""  # reported as a file without alpha
    if is_wide_grey(image):
        return wide_values(image), 65535, ""
    if role == "trimap":
        return grey_of_trimap(image), 255, ""
    values, hint = alpha_of(to_eight_bits(image)), ""
    if role in ("alpha", "prediction") and image.has_transparency_data and values.min() == 255:
        grey = np.asarray(image.convert("RGBA").convert("L"))
        if grey.min() < grey.max():
            hint = (
                "its alpha channel is opaque everywhere, so that alpha is 255: if its colours are "
                "the alpha, save it in grey, image.convert('L')"
            )
    return values, 255, hint


def check_alpha(values: np.ndarray, full: int) -> tuple[str, str]:
    """Returns the fault of the values of an alpha, and a warning; "" for none."""
    largest = int(values.max())
    if largest == 0:
        return "", "its alpha is 0 everywhere"
    if largest <= LARGEST_CODE:
        return class_fault(values, full, largest), ""
    if full == 65535:
        return check_wide(values, largest)
    if holds_void(values):
        return class_fault(values, full, "N"), ""
    if largest == PERCENT:
        return "", "its alpha is at most 100 of 255, as in percent: multiply it by 2.55 if it is"
    if largest <= LARGEST_CLASS:
        levels = np.unique(values)
        if len(levels) < largest + 1 - int(levels[0]):
            return class_fault(values, full, "N"), ""
        return "", f"its alpha is at most {largest} of 255"
    return "", ""


def check_photo(values: np.ndarray, full: int) -> tuple[str, str]:
    """Returns the fault of the transparency of a photo, or of its grey values of 16 bits."""
    largest = int(values.max())
    if full == 65535:
        return check_wide(values, largest) if largest > 0 else ("", "")
    if largest <= LARGEST_CODE:
        return (
            f"its transparency is at most {largest} of 255, so that nothing of it is visible: save "
            "it without transparency, image.convert('RGB')"
        ), ""
    return "", ""


def holds_void(values: np.ndarray) -> bool:
    """Returns whether values are only class numbers and VOID, as in labels."""
    numbers = (values > 0) & (values <= LARGEST_CLASS)
    others = (values > LARGEST_CLASS) & (values < VOID)
    return bool(numbers.mean() > MOST_LABELLED and values.max() == VOID and not others.any())


def is_faint(values: np.ndarray, full: int) -> bool:
    """Returns whether a prediction may be of an image without a subject.

    Few of its pixels are above 0, or values of 16 bits that are no alpha of 8 bits either.
    """
    largest = values.max()
    if 0 < largest <= LARGEST_CODE:
        return np.count_nonzero(values) < FEW * values.size
    return full == 65535 and LARGEST_CODE < largest < 128


def class_fault(values: np.ndarray, full: int, number: int | str) -> str:
    """Returns the fault of an alpha that holds class numbers; `number` is the foreground's."""
    return (
        f"{describe(values)} of {full}, as in a mask of class numbers, but an alpha is from 0 to "
        f"{full}: convert it, for class {number} by "
        f"Image.fromarray(np.uint8(255 * (np.asarray(image) == {number})))"
    )


def check_wide(values: np.ndarray, largest: int) -> tuple[str, str]:
    """Returns the fault of the values of 16 bits, and a warning; "" for none."""
    bits = 8 if largest <= 255 else BITS.get(largest)
    if bits is None:
        return "", ""
    factor = f"65535 / {2**bits - 1}"
    way = "convert it, Image.fromarray(np.uint8(np.asarray(image)))"
    if bits > 8:
        way = f"convert it, Image.fromarray(np.uint16(np.asarray(image) * ({factor})))"
    if values.ndim == 3:  # Pillow reads only their upper 8 bits
        way = "save its array as uint8" if bits == 8 else f"save its array multiplied by {factor}"
    return (
        f"{describe(values)} of 65535, as in a file of 16 bits that holds values of {bits} bits: "
        f"{way}"
    ), ""


NO_KNOWN = "its trimap is unknown everywhere"
NO_UNKNOWN = "its trimap has no unknown pixel (85 to 169 of 255)"


def check_trimap(values: np.ndarray, full: int) -> tuple[str, str]:
    """Returns the fault of the values of a trimap, and a warning; "" for none."""
    largest = int(values.max())
    if largest == 0:
        return (
            "its trimap is 0 everywhere, all of it background: paint the foreground 255 and the "
            "unknown region 128"
        ), ""
    if full == 65535 and largest > LARGEST_CLASS:
        fault, _ = check_wide(values, largest)
        if fault:
            return fault, ""
    unit = full / 255
    if fault := code_fault(values, full, "Image.fromarray({})", "np.asarray(image)"):
        return fault, ""
    known = (values < 85 * unit) | (values >= 170 * unit)
    if not known.any():
        return "", NO_KNOWN
    return "", NO_UNKNOWN if known.all() else ""


def code_fault(values: np.ndarray, full: int, result: str, array: str) -> str:
    """Returns the fault of a trimap that holds class numbers or percent, "" for another one.

    Args:
        values: values of the trimap.
        full: largest possible one.
        result: Python that makes a trimap of an array, which is {} in it, for the advice.
        array: Python for the array of the trimap at fault.
    """
    percent = full == 255 and np.isin(values, (0, PERCENT // 2, PERCENT)).all()
    if values.max() >= 85 * full / 255 and not percent and not (full == 255 and holds_void(values)):
        return ""
    kind, codes = ("in percent", "0, 50 and 100") if percent else ("of class numbers", "0, 1 and 2")
    way = result.format(f"np.uint8([0, 128, 255])[{array}{' // 50' if percent else ''}]")
    return (
        f"{describe(values)} of {full}, as {kind}, but a trimap is 0 for background, 128 for "
        f"unknown and 255 for foreground: convert it, for codes {codes} by {way}"
    )


def describe(values: np.ndarray) -> str:
    """Returns the values in words."""
    levels = np.unique(values)
    if len(levels) == 1:
        return f"its only value is {levels[0]}"
    if len(levels) <= 5:
        return f"its values are {', '.join(map(str, levels[:-1]))} and {levels[-1]}"
    return f"its {len(levels)} values are from {levels[0]} to {levels[-1]}"
