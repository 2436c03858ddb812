"""The results of a clip, by the names of their files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from matting_jax.data.clips.camera import is_camera
from matting_jax.data.clips.clip import Clip
from matting_jax.data.clips.reader import SUFFIXES
from matting_jax.data.files.walk import real
from matting_jax.files import check_new_file
from matting_jax.prediction.video.encodings import ENCODINGS
from matting_jax.prediction.video.writers import FileWriter, FolderWriter, Writer, part_of

# Flags for one kind of input.
CLIPS_ONLY = ("composite", "smooth", "smooth_threshold", "frame_rate", "batch")
PHOTOS_ONLY = ("trimap", "existing", "shard", "size_step")
# The files and folders that --output can name, for errors.
RESULTS = (
    "alpha.mp4 or alpha.mkv for the alpha in grey, NAME.webm or NAME.mov for a cut-out with alpha, "
    "NAME.mp4 with --composite for a composite, a folder for PNG files"
)


def split_outputs(text: str) -> list[Path]:
    """Returns the files and folders of --output, which are separated by commas.

    Raises ValueError if there is none, or if two are the same.
    """
    paths = [Path(os.path.expanduser(x.strip())) for x in text.split(",") if x.strip()]
    if not paths:
        raise ValueError(f"--output {text!r} names no result: {RESULTS}")
    if len({real(path) for path in paths}) < len(paths):
        raise ValueError(f"--output {text} names a result twice")
    return paths


def is_file_of_a_clip(path: Path) -> bool:
    """Returns whether a result is one file and not a folder of frames."""
    return any(path.suffix.lower() == suffix for _, suffix in ENCODINGS)


def asks_for_a_clip(source: str, output: str, video: bool, flags: Sequence[str]) -> bool:
    """Returns whether --input is a clip: by its name, by --video, or by a result that is one.

    Args:
        source: --input.
        output: --output.
        video: --video.
        flags: names of all given flags.

    Raises:
        ValueError: if one of `flags` is for the other kind of input.
    """
    named = is_camera(source) or Path(source).suffix.lower() in SUFFIXES
    clip = video or named or any(map(is_file_of_a_clip, split_outputs(output)))
    for name in PHOTOS_ONLY if clip else CLIPS_ONLY:
        if name in flags:
            kinds = ("photos", "a clip") if clip else ("clips", "photos")
            raise ValueError(f"--{name} is for {kinds[0]}, but --input is {kinds[1]}: omit it")
    return clip


def kind_of(path: Path, composite: bool) -> str:
    """Returns what a file holds by its name: "alpha", "cutout" or "composite".

    Raises ValueError for a name that means none of them.
    """
    suffix = path.suffix.lower()
    if path.stem.lower().endswith("alpha"):
        kind = "alpha"
    elif ("cutout", suffix) in ENCODINGS:
        kind = "cutout"
    else:
        kind = "composite" if composite else "alpha"
    if (kind, suffix) not in ENCODINGS:
        raise ValueError(f"--output {path}: a file {suffix} cannot hold the {kind}: {RESULTS}")
    return kind


def images_of(paths: Sequence[Path], composite: bool, cut_out: bool, bits: int) -> tuple[str, ...]:
    """Returns the names of the images that all results need.

    Args:
        paths: the results.
        composite: whether a new background is given.
        cut_out: whether folders hold cut-outs.
        bits: of the alphas in folders.

    Raises:
        ValueError: for a name that means no result, and for a new background that none shows.
    """
    names = []
    for path in paths:
        if is_file_of_a_clip(path):
            names.append(ENCODINGS[kind_of(path, composite), path.suffix.lower()].image)
        elif path.suffix and not path.is_dir():
            raise ValueError(f"--output {path}: unknown kind of file: {RESULTS}")
        else:
            names += folder_images(composite, cut_out, bits)
    if composite and "composite8" not in names:
        raise ValueError(
            f"--composite is given, but no --output shows it: {', '.join(map(str, paths))}; add "
            "NAME.mp4 or a folder"
        )
    return tuple(dict.fromkeys(names))


def folder_images(composite: bool, cut_out: bool, bits: int) -> tuple[str, ...]:
    """Returns the names of the images in a folder of frames."""
    more = ("composite8",) if composite else ("cutout8",) if cut_out else ()
    return (f"alpha{bits}", *more)


def check_results(paths: Sequence[Path], inputs: Sequence[str], overwrite: bool) -> None:
    """Checks that results replace nothing but earlier results, and these only with `overwrite`.

    Raises OSError for results that exist or cannot be written, and ValueError for a result that
    would replace one of the `inputs`.
    """
    taken = {real(Path(x)): x for x in inputs}
    for path in paths:
        is_file = is_file_of_a_clip(path)
        for written in (path, part_of(path)) if is_file else (path,):
            if real(written) in taken:
                raise ValueError(
                    f"the result would replace {taken[real(written)]}: choose another --output"
                )
        if is_file or not path.is_dir():
            check_new_file(path, overwrite)
        elif any(path.iterdir()) and not overwrite:
            raise FileExistsError(f"{path} exists already: pass --overwrite to replace it")


def open_writers(
    paths: Sequence[Path], clip: Clip, composite: bool, cut_out: bool, bits: int
) -> list[Writer]:
    """Opens the writer of each result, see `images_of`; raises OSError if one cannot be opened."""
    writers: list[Writer] = []
    try:
        for path in paths:
            if is_file_of_a_clip(path):
                encoding = ENCODINGS[kind_of(path, composite), path.suffix.lower()]
                writers.append(FileWriter(path, encoding, clip))
            else:
                writers.append(FolderWriter(path, folder_images(composite, cut_out, bits)))
    except BaseException:
        for writer in writers:
            writer.abandon()
        raise
    return writers
