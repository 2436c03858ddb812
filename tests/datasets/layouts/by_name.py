"""AM-2k, BG-20k, P3M-10k, PPM-100 and AIM-500."""

import numpy as np
from PIL import Image

# Below the manual folder: names of photos, and folders with their extensions. The second photo of
# each folder is larger, and each folder also has a file that is not an image.
LAYOUT = {
    "AM-2k/train": (
        ("m_1a", "m_2b", "m_3c"),
        {"original": "jpg", "original_denoise": "png", "mask": "png"},
    ),
    "AM-2k/validation": (("m_4d", "m_5e"), {"original": "jpg", "mask": "png", "trimap": "png"}),
    "BG-20k": (("h_1", "h_2", "h_3"), {"train": "jpg", "train_denoise": "png"}),
    "BG-20k/.": (("h_4", "h_5"), {"testval": "jpg"}),
    "P3M-10k/train": (("p_1", "p_2"), {"blurred_image": "jpg", "mask": "png", "fg": "png"}),
    "P3M-10k/validation/P3M-500-P": (
        ("p_3", "p_4"),
        {"blurred_image": "jpg", "mask": "png", "trimap": "png"},
    ),
    "P3M-10k/validation/P3M-500-NP": (
        ("p_5",),
        {"original_image": "jpg", "mask": "png", "trimap": "png"},
    ),
    "PPM-100": (("17_b_o", "9_a_o"), {"image": "jpg", "matte": "jpg"}),
    "AIM-500": (("o_1", "o_2"), {"original": "jpg", "mask": "png", "trimap": "png", "usr": "png"}),
}


GREY = ("mask", "matte", "trimap")


def draw(folder):
    """Writes all data sets with few and small images: noise, and soft discs as alpha."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :36]
    disc = np.clip(255 * (14 - np.hypot(y - 20, x - 16)) / 5, 0, 255).astype(np.uint8)
    for group, (names, parts) in LAYOUT.items():
        for number, name in enumerate(names):
            for part, suffix in parts.items():
                path = folder / group / part / f"{name}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                size = (40, 36) if number == 1 else (30, 28)
                pixels = rng.integers(0, 256, (*size, 3), np.uint8)
                if part in GREY:
                    pixels = disc[: size[0], : size[1]]
                Image.fromarray(pixels).save(path)
                (path.parent / "readme.txt").touch()
    return folder
