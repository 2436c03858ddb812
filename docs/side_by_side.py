"""Puts photos, their alphas and their cut-outs on new backgrounds into one picture.

python docs/side_by_side.py PHOTOS RESULTS BACKGROUNDS PICTURE [TRIMAPS]

RESULTS is the folder that `--mode predict` wrote for the folder PHOTOS. The first photo gets the
first background of the folder BACKGROUNDS, and so on, in the order of their names. With the folder
TRIMAPS, the trimap of each photo follows the photo.
"""

import itertools
import sys
from pathlib import Path

from PIL import Image, ImageOps

TILE = (240, 144)  # width, height


def list_files(folder: Path) -> list[Path]:
    """Returns the files of a folder, without hidden ones, in the order of their names."""
    if not folder.is_dir():
        sys.exit(f"there is no folder {folder}")
    files = sorted(x for x in folder.iterdir() if x.is_file() and not x.name.startswith("."))
    return files or sys.exit(f"{folder} holds no file")


def rows_of(photos: Path, results: Path, backgrounds: Path, trimaps: Path | None) -> list:
    """Returns photo, trimap, alpha and composite of each photo, as RGB images of the size TILE."""
    rows = []
    new = itertools.cycle(list_files(backgrounds))
    for photo, background in zip(list_files(photos), new, strict=False):
        alpha, cutout = (results / f"{photo.stem}_{part}.png" for part in ("alpha", "cutout"))
        if not cutout.exists():
            sys.exit(f"{cutout} is missing: run launch.py --mode predict for {photos} first")
        cutout = Image.open(cutout)
        composite = ImageOps.fit(Image.open(background).convert("RGBA"), cutout.size)
        composite.alpha_composite(cutout)
        tiles = [ImageOps.exif_transpose(Image.open(photo)), Image.open(alpha), composite]
        if trimaps:
            trimap = trimaps / f"{photo.stem}.png"
            if not trimap.exists():
                sys.exit(f"{trimap} is missing: it needs the name of its photo")
            tiles.insert(1, Image.open(trimap))
        rows.append([ImageOps.fit(tile.convert("RGB"), TILE) for tile in tiles])
    return rows


def main(photos: str, results: str, backgrounds: str, picture: str, trimaps: str = "") -> None:
    """Writes one row of tiles for each photo."""
    width, height = TILE
    rows = rows_of(Path(photos), Path(results), Path(backgrounds), trimaps and Path(trimaps))
    sheet = Image.new("RGB", (len(rows[0]) * width, len(rows) * height))
    for (i, row), j in itertools.product(enumerate(rows), range(len(rows[0]))):
        sheet.paste(row[j], (j * width, i * height))
    Path(picture).parent.mkdir(parents=True, exist_ok=True)
    sheet.save(picture, quality=90)


if __name__ == "__main__":
    if len(sys.argv) not in (5, 6):
        sys.exit(__doc__)
    main(*sys.argv[1:])
