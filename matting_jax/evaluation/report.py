"""Writes the page of an evaluation, plain HTML that shows the worst mattes first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from matting_jax.evaluation.scores import METRICS, SPLIT, Case, Row, columns, mean_scores

TILE = 320  # longest side of a picture, px
TOO_HIGH, TOO_LOW = (255, 128, 0), (0, 144, 255)  # colours of the error map
TILES = {
    "photo": "photo.jpg",
    "truth": "truth.png",
    "prediction": "prediction.png",
    "error": "error.png",
}
REGIONS = {"whole image": columns(METRICS), "unknown region": columns(METRICS, "_unknown")}


def tiles(case: Case) -> dict[str, Image.Image]:
    """Returns the small pictures of a case by file name; without its photo where there is none."""
    height, width = case.truth.shape
    scale = min(TILE / max(height, width), 1)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    pictures = {}
    if case.photo is not None:
        photo = Image.fromarray(case.photo)
        photo.thumbnail((TILE, TILE), Image.Resampling.BOX)
        pictures["photo"] = photo
    for name, alpha in (("truth", case.truth), ("prediction", case.prediction)):
        grey = Image.fromarray(np.rint(255 * alpha).astype(np.uint8))
        pictures[name] = grey.resize(size, Image.Resampling.BOX)
    pictures["error"] = Image.fromarray(error_map(case.prediction, case.truth, size))
    return {TILES[name]: picture for name, picture in pictures.items()}


def error_map(prediction: np.ndarray, truth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Draws where alpha is too high and too low, uint8 [H, W, 3] of `size` (width, height).

    Errors are max-pooled so that thin structures survive; brightness is sqrt(error) so that faint
    errors stay visible.
    """
    error = prediction - truth
    starts = [np.arange(n) * side // n for n, side in zip(size[::-1], error.shape, strict=True)]
    highest, lowest = (
        extreme.reduceat(extreme.reduceat(error, starts[0], axis=0), starts[1], axis=1)
        for extreme in (np.maximum, np.minimum)
    )
    too_high = (highest >= -lowest)[..., None]
    strength = np.sqrt(np.maximum(highest, -lowest))[..., None]
    return np.rint(strength * np.where(too_high, TOO_HIGH, TOO_LOW)).astype(np.uint8)


def write_page(
    folder: Path, title: str, convention: str, rows: Sequence[Row], notes: Iterable[str]
) -> None:
    """Writes index.html.

    Args:
        folder: where it is written; the pictures are folder/tiles/NUMBER_NAME.
        title: what is measured.
        convention: definition of the metrics.
        rows: the scores of each image.
        notes: further paragraphs.
    """
    scores = [key for key in rows[0] if key != "name"]
    # The order without JavaScript: papers compare the unknown region.
    first = next(key for key in ("sad_unknown", "sad", *scores) if key in scores)
    order = sorted(range(len(rows)), key=lambda number: descending(rows[number][first]))
    options = "".join(
        f'<option value="{key}"{" selected" * (key == first)}>{label(key)}</option>'
        for key in scores
    )
    page = PAGE.format(
        title=escape(title),
        convention=convention,
        count=len(rows),
        notes="".join(f"<p>{escape(note)}</p>" for note in notes),
        means=table(mean_scores(rows)),
        filled=FILLED if any(key.endswith("_unknown") for key in scores) else "",
        options=options,
        first=label(first),
        cards="\n".join(card(folder, number, rows[number]) for number in order),
    )
    # Names of files need not be UTF-8.
    (folder / "index.html").write_text(page, encoding="utf-8", errors="backslashreplace")


def descending(value: float) -> float:
    """Returns a sorting key that puts the largest value first and NaN last."""
    return -value if np.isfinite(value) else np.inf


def label(key: str) -> str:
    """Returns the label of a column: `mse_unknown` is "MSE, unknown region"."""
    for region, names in REGIONS.items():
        for name, column in names.items():
            if column == key:
                return f"{name}, {region}"
    return f"SAD, {key.removeprefix('sad_')}"


def card(folder: Path, number: int, row: Row) -> str:
    """Returns the HTML of one image: its name, scores and pictures."""
    data = " ".join(f'data-{key}="{value}"' for key, value in row.items() if key != "name")
    figures = "".join(
        figure(folder, f"tiles/{number}_{file}", name) for name, file in TILES.items()
    )
    return (
        f'<section data-number="{number}" {data}><h2>{escape(row["name"])}</h2>'
        f'{table(row)}<div class="pictures">{figures}</div></section>'
    )


def figure(folder: Path, path: str, name: str) -> str:
    """Returns the HTML of a picture and its caption; "" if there is no such file."""
    if not (folder / path).exists():
        return ""
    with Image.open(folder / path) as image:
        width, height = image.size
    return (
        f'<figure><img src="{path}" width="{width}" height="{height}" alt="{name}" loading="lazy">'
        f"<figcaption>{name}</figcaption></figure>"
    )


def table(scores: Row) -> str:
    """Returns the HTML of scores: a line per region, a column per metric, a line of SPLIT."""
    names = [name for name, key in REGIONS["whole image"].items() if key in scores]
    lines = ["<tr><td></td>" + "".join(f"<th>{name}</th>" for name in names) + "</tr>"]
    for region, keys in REGIONS.items():
        if any(keys[name] in scores for name in names):
            cells = "".join(f"<td>{digits(scores.get(keys[name]))}</td>" for name in names)
            lines.append(f"<tr><th>{region}</th>{cells}</tr>")
    split = [f"{key.removeprefix('sad_')} {digits(scores[key])}" for key in SPLIT if key in scores]
    if split:
        lines.append(
            f'<tr><th>SAD, not filled</th><td colspan="{len(names)}">{", ".join(split)}</td></tr>'
        )
    return f"<table>{''.join(lines)}</table>"


def digits(value: float | None) -> str:
    """Formats a score with four significant digits, large ones as integers; "" for None."""
    if value is None:
        return ""
    if not np.isfinite(value):
        return "NaN"
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return np.format_float_positional(value, 4, unique=False, fractional=False).rstrip(".")


FILLED = """For the unknown region, known pixels are filled from the trimap before measuring; SAD of
the trimap's transition, foreground and background is measured without filling.
"""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; color: #222; margin: 1.5em auto; max-width: 1340px;
       padding: 0 1em; }}
h1 {{ font-size: 1.3em; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.05em; margin: 0 0 .3em; overflow-wrap: anywhere; }}
section {{ border-top: 1px solid #ccc; padding: .8em 0; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; margin-bottom: .5em; }}
td, th {{ padding: 0 .9em 0 0; text-align: right; font-weight: normal; min-width: 4.5em; }}
th {{ color: #666; }}
tr > :first-child {{ text-align: left; min-width: 8em; }}
td[colspan] {{ text-align: left; }}
.pictures {{ display: flex; flex-wrap: wrap; gap: 8px; }}
figure {{ margin: 0; }}
select {{ font: inherit; }}
img {{ display: block; background: #888; max-width: 100%; height: auto; }}
figcaption {{ color: #666; font-size: .9em; }}
.high {{ color: #b85c00; }}
.low {{ color: #0068b8; }}
</style>
</head>
<body>
<h1>{title}</h1>
<h2>Means over {count} images</h2>
{means}
{notes}
<p>All metrics are errors: 0 is best. Convention: {convention}. {filled}In the error maps,
<span class="high">orange means that alpha is too high</span>, <span class="low">blue that it is too
low</span>; each pixel shows the largest error around it, with the square root as brightness.</p>
<p id="sort" hidden><label>Sort by <select>{options}<option value="number">name</option></select>
</label> <label><input type="checkbox"> reversed</label></p>
<noscript><p>Sorted by {first}, worst first.</p></noscript>
<main>
{cards}
</main>
<script>
const form = document.getElementById("sort"), list = document.querySelector("main");
const key = form.querySelector("select"), reversed = form.querySelector("input");
function sort() {{
  const value = (card) => Number(card.getAttribute("data-" + key.value));
  const sign = (key.value === "number") !== reversed.checked ? 1 : -1;
  const after = (card) => Number.isNaN(value(card));
  list.append(...[...list.children].sort((a, b) =>
    after(a) - after(b) || sign * (value(a) - value(b)) || a.dataset.number - b.dataset.number));
}}
form.addEventListener("change", sort);
form.hidden = false;
</script>
</body>
</html>
"""
