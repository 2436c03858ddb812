"""Scores a folder of alphas, made by any tool, against a folder of truths."""

from __future__ import annotations

from pathlib import Path

from matting_jax.choices import one_of
from matting_jax.data.files.folders import find_compared
from matting_jax.data.files.walk import real
from matting_jax.evaluation.measure import check_output, measure_files
from matting_jax.metrics.conventions import CONVENTIONS


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
    """Scores the folder `predictions` against `truths`; files with the same stem belong together.

    Args:
        predictions: folder of alphas.
        truths: folder of true alphas.
        trimaps: folder of trimaps, to score the unknown region as well.
        photos: folder of photos, to be shown.
        output: folder of the results of `measure`; default: PREDICTIONS_evaluation.
        convention: definition of the metrics, a key of CONVENTIONS.
        overwrite: replace an earlier evaluation.

    Returns:
        The mean scores.

    Raises:
        ValueError: lists every file that is missing or cannot be used.
        FileExistsError: if something would be overwritten, before anything is measured.
    """
    one_of(convention, CONVENTIONS, "--convention")
    folder = Path(output) if output else default_output(real(Path(predictions)))
    given = [real(Path(x)) for x in (predictions, truths, trimaps, photos) if x]
    if any(real(folder) in path.parents for path in given):
        raise ValueError(
            f"--output {folder} would replace files that are measured: pass another folder"
        )
    check_output(folder, overwrite)
    found = find_compared(predictions, truths, trimaps, photos)
    return measure_files(found, folder, f"{predictions} against {truths}", convention)


def default_output(predictions: Path) -> Path:
    """Returns PREDICTIONS_evaluation, next to the folder of the predictions.

    The saved alphas of an evaluation are in its folder, which must hold nothing else: the result is
    next to that folder.
    """
    if predictions.name == "alphas" and (predictions.parent / "index.html").exists():
        evaluation = predictions.parent
        return evaluation.with_name(f"{evaluation.name}_alphas_evaluation")
    return predictions.with_name(f"{predictions.name}_evaluation")
