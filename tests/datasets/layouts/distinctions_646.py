"""Distinctions-646."""

from tests.helpers import noise, save_image

TRAIN = ["13(2)", "GT01", "h_10", "h_9"]
TEST = {"test_0": (24, 30), "test_10": (40, 26), "test_2": (12, 70)}
BACKGROUNDS = [(70, 80), (9, 14), (60, 7)]


def draw(folder):
    """Writes the data set with few and small images; the lists are not sorted by name."""
    own, voc = folder / "Distinctions-646", folder / "VOCdevkit/VOC2012/JPEGImages"
    for seed, name in enumerate(TRAIN):
        save_image(noise(seed, 20, 16, 3), own, "Train/FG", f"{name}.png")
        save_image(noise(10 + seed, 20, 16), own, "Train/GT", f"{name}.png")
    (own / "Train/FG/Thumbs.db").touch()
    for seed, (name, size) in enumerate(TEST.items()):
        save_image(noise(20 + seed, *size, 3), own, "Test/FG", f"{name}.png")
        save_image(noise(30 + seed, *size), own, "Test/GT", f"{name}.png")
    backgrounds = [f"2008_{60 - i:06d}.jpg" for i in range(60)]
    for seed, name in enumerate(backgrounds):
        save_image(noise(100 + seed, *BACKGROUNDS[seed % 3], 3), voc, name)
    (own / "Test/fg_test.txt").write_text("\n".join(f"{name}.png" for name in listed()))
    (own / "Test/bg_test.txt").write_text("".join(f"{name}\r\n" for name in backgrounds))
    return folder


def listed():
    return sorted(TEST, key=lambda name: int(name.removeprefix("test_")))
