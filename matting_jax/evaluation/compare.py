"""Scores of alphas from any tool, in a folder, against a folder of truths."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tqdm import tqdm

from matting_jax.choices import one_of
from matting_jax.data import read_exact_alpha, read_image
from matting_jax.data.files.folders import Compared, find_compared
from matting_jax.data.files.trimaps import read_trimap
from matting_jax.evaluation.measure import check_output, measure
from matting_jax.evaluation.scores import Case
from matting_jax.metrics.conventions import CONVENTIONS
from matting_jax.prediction.inputs import as_float_trimap


def compare(
    predictions: str | Path,
    truths: str | Path,
    trimaps: str | Path | None = None,
    photos: str | Path | None = None,
    output: str | Path | None = None,
    *,
    convention: str = "matlab",
    overwrite: bool = False,
) -> dict[str, float]:
    """Score the folder `predictions` against `truths`, files of one stem belonging together.

    With `trimaps` over the unknown region as well; `photos` are shown. Results as `measure` writes
    them, by default into PREDICTIONS_evaluation. Returns the means. Raises ValueError that names
    every file which is missing or cannot be used, and FileExistsError, before anything is measured.
    """
    one_of(convention, CONVENTIONS, "--convention")
    folder = Path(output) if output else default_output(Path(predictions).resolve())
    if folder.resolve() in [
        x
        for given in (predictions, truths, trimaps, photos)
        if given
        for x in Path(given).resolve().parents
    ]:
        raise ValueError(f"--output {folder} would replace what is measured: give another folder")
    check_output(folder, overwrite)
    found = find_compared(predictions, truths, trimaps, photos)
    bar = tqdm(found, desc="evaluate", unit="image", leave=False, disable=None)
    cases = (partial(read_case, files) for files in bar)
    return measure(cases, len(found), folder, f"{predictions} against {truths}", convention)


def default_output(predictions: Path) -> Path:
    """PREDICTIONS_evaluation beside it; for the saved alphas of an evaluation beside that one's
    folder, which holds nothing else."""
    if predictions.name == "alphas" and (predictions.parent / "index.html").exists():
        evaluation = predictions.parent
        return evaluation.with_name(f"{evaluation.name}_alphas_evaluation")
    return predictions.with_name(f"{predictions.name}_evaluation")


def read_case(files: Compared) -> Case:
    """The images of one name; alphas are not rounded to 8 bits."""
    return Case(
        files.name,
        read_exact_alpha(files.prediction),
        read_exact_alpha(files.truth),
        files.trimap and as_float_trimap(read_trimap(files.trimap))[..., 0],
        files.photo and read_image(files.photo),
    )
