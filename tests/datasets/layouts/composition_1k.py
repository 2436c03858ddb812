"""Composition-1k."""

import numpy as np

from tests.helpers import noise, save_image

TRAIN = {"Adobe-licensed images": ["man_1", "smoke_00005"], "Other": ["GT01", "cat,_old"]}
TEST = {"lace-1.2_1920": (24, 30), "dog (1)": (40, 26)}
BACKGROUNDS = {"large": (70, 80), "small": (9, 14), "narrow": (60, 7)}


def draw(folder):
    """Writes the data set with few and small images."""
    training, test = folder / "Combined_Dataset/Training_set", folder / "Combined_Dataset/Test_set"
    for part, names in TRAIN.items():
        for seed, name in enumerate(names):
            save_image(noise(seed, 20, 16, 3), training, part, "fg", f"{name}.jpg")
            save_image(noise(seed, 20, 16), training, part, "alpha", f"{name}.jpg")
    names = sum(TRAIN.values(), [])
    (training / "training_fg_names.txt").write_text("\n".join(f"{name}.jpg" for name in names))
    images, voc = test / "Adobe-licensed images", folder / "VOCdevkit/VOC2012/JPEGImages"
    backgrounds = [f"2007_{i:06d}" for i in range(40)]
    for seed, (name, size) in enumerate(TEST.items()):
        alpha = noise(10 + seed, *size)
        alpha[:5], alpha[5:10] = 0, 255
        save_image(noise(seed, *size, 3), images, "fg", f"{name}.png")
        alpha = np.repeat(alpha[..., None], 3, -1) if seed else alpha
        save_image(alpha, images, "alpha", f"{name}.png")
        for i in range(20):
            save_image(np.full(size, 6 * i, np.uint8), images, "trimaps", f"{name}_{i}.png")
    for seed, name in enumerate(backgrounds):
        size = list(BACKGROUNDS.values())[seed % 3]
        save_image(noise(100 + seed, *size, 3), voc, f"{name}.jpg")
    (test / "test_fg_names.txt").write_text("".join(f"{name}.png\r\n" for name in TEST))
    (test / "test_bg_names.txt").write_text("\n".join(f"{name}.jpg" for name in backgrounds))
    return folder
