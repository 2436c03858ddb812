"""VideoMatte240K, PhotoMatte85 and the backgrounds of BackgroundMattingV2."""

from tests.helpers import noise, save_image

FRAMES = {"train": ["0001/00000", "0001/00001", "0000/00007"], "test": ["0100/00000", "0100/00001"]}

PHOTOS = ["0051115Q_000001_0041", "0063103A_0005"]
BACKGROUNDS = {"train": ["sea.jpg", "city/night.png"], "valid": ["a.png", "b.png"]}


def draw(folder):
    """Writes all three data sets with few and small images."""
    for split, names in FRAMES.items():
        for seed, name in enumerate(names):
            frames = folder / "VideoMatte240K_JPEG_SD" / split
            save_image(noise(seed, 18, 32, 3), frames, "fgr", f"{name}.jpg")
            save_image(noise(10 + seed, 18, 32), frames, "pha", f"{name}.jpg")
        (frames / "fgr" / ".DS_Store").touch()
    for seed, name in enumerate(PHOTOS):
        save_image(noise(20 + seed, 20, 16, 4), folder / "PhotoMatte85", f"{name}.png")
    for split, names in BACKGROUNDS.items():
        for seed, name in enumerate(names):
            save_image(
                noise(30 + seed, 12 + 20 * seed, 30, 3), folder / "Backgrounds" / split, name
            )
    return folder
