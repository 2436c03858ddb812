"""Scores of a network on images with known alpha."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from matting_jax.choices import one_of
from matting_jax.data import EvaluationImage, evaluation_images, folder_images
from matting_jax.evaluation import previews
from matting_jax.evaluation.measure import check_output, measure
from matting_jax.evaluation.scores import Case, write_csv
from matting_jax.files import write_folder_atomically
from matting_jax.metrics.conventions import CONVENTIONS
from matting_jax.models import create_model, input_names
from matting_jax.prediction.inputs import as_float_trimap
from matting_jax.prediction.load import load_matter
from matting_jax.prediction.matter import Matter
from matting_jax.tasks import find_task


def evaluate(
    config: Any,
    workdir: Path,
    checkpoint: str | None = None,
    output: str | None = None,
    *,
    folders: Mapping[str, str] | None = None,
    trimap_from: str | None = None,
    trimap_rule: Mapping[str, Any] | None = None,
    convention: str = "matlab",
    save: bool = False,
    overwrite: bool = False,
) -> dict[str, float]:
    """Score `checkpoint`, or the best one of `workdir`, on the test data of `config`.

    In its place on `folders`: photos, truths and, for networks that need them, trimaps or
    backgrounds. Trimaps may be made by the network of the workdir `trimap_from`, by its rule with
    the fields of `trimap_rule` in place of its own; those of the test data then only say where is
    scored.
    Results as `measure` writes them, with `save` also the alphas, into the folder `output`, by
    default WORKDIR/evaluation/NAME. A task that has scores of its own writes these, a table of one
    line, with pictures. Returns the means. Raises FileExistsError rather than overwrite anything.
    """
    one_of(convention, CONVENTIONS, "--convention")
    name = Path(checkpoint).stem if checkpoint else "best"
    folder = Path(output) if output else workdir / "evaluation" / name
    check_output(folder, overwrite)
    needs = input_names(create_model(config.name, **config.model))
    for kind in needs:
        if not folders or kind == "image" or f"{kind}s" in folders:
            continue
        if kind == "trimap" and trimap_from:
            continue
        other = ", or --trimap_from WORKDIR, whose network makes them" if kind == "trimap" else ""
        raise ValueError(
            f"{config.name} needs a {kind} of each photo: give --{kind}s DIR as well{other}"
        )
    if "backgrounds" in (folders or {}) and "background" not in needs:
        raise ValueError(f"{config.name} takes no background: leave out --backgrounds")
    labelled = find_task(config.task.name).labelled(config)
    images = folder_images(**folders) if folders else evaluation_images(config, labelled=labelled)
    matter = load_matter(
        config, checkpoint or workdir, trimap_from=trimap_from, trimap_rule=trimap_rule
    )
    title = f"{config.name}, {checkpoint or f'best checkpoint of {workdir}'}"
    task = find_task(config.task.name)
    if task.evaluate:
        if save:
            raise ValueError(f"--save keeps alphas, but {config.name} makes none: leave it out")
        scores, pictures = task.evaluate(matter, images, config, config.preview_images)
        return write_scores(scores, pictures, folder, title)
    cases = (
        partial(
            Case,
            image.name,
            alpha,
            np.divide(image.alpha, 255, dtype=np.float32),
            None if image.trimap is None else as_float_trimap(image.trimap)[..., 0],
            image.image,
        )
        for image, alpha in predictions(matter, images)
    )
    return measure(cases, len(images), folder, title, convention, save=save)


def write_scores(
    scores: dict[str, float], pictures: Sequence[Mapping[str, np.ndarray]], folder: Path, title: str
) -> dict[str, float]:
    """Write scores.csv and, of some images, preview.png into `folder`; `scores`, printed."""
    with write_folder_atomically(folder) as partly:
        write_csv(partly / "scores.csv", [{"name": title, **scores}])
        if pictures:
            Image.fromarray(previews.grid(pictures)).save(partly / "preview.png")
    print(title, *(f"{name} {value:.4f}" for name, value in scores.items()), sep="\n")
    return scores


def predictions(
    matter: Matter, images: Sequence[EvaluationImage]
) -> Iterator[tuple[EvaluationImage, np.ndarray]]:
    """Each of `images` with the alpha [H, W] that `matter` gives it."""
    numbers = range(len(images))
    for index in tqdm(numbers, desc="evaluate", unit="image", leave=False, disable=None):
        image = images[index]
        yield image, matter(image.image, **beside(matter, image))


def beside(matter: Matter, image: EvaluationImage) -> dict[str, np.ndarray | None]:
    """What `matter` needs of `image` beside the photo; ValueError where there is none."""
    for name in matter.needs:
        if getattr(image, name) is None:
            raise ValueError(
                f"{matter.name} needs a {name} of the test image {image.name}: put it into a "
                f"folder {name}/ beside image/ and alpha/, with the same name"
            )
    return {name: getattr(image, name) for name in matter.needs}
