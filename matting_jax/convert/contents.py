"""Recognises files that are not checkpoints, or not of the format of their extension."""

from __future__ import annotations

import codecs
import struct
import zipfile
from pathlib import Path

LFS_POINTER = b"version https://git-lfs"
WEB_PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml")
# Starts of other files, and what they are.
OTHERS = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF document",
    b"\x89HDF": "an HDF5 file, as Keras writes it: convert it to safetensors",
    b"\x1f\x8b": "a gzip archive: unpack it",
    b"BZh": "a bzip2 archive: unpack it",
    b"\xfd7zXZ": "an xz archive: unpack it",
    b"7z\xbc\xaf": "a 7z archive: unpack it",
    b"Rar!": "a RAR archive: unpack it",
}
ZIP = b"PK\x03\x04"
LARGEST_HEADER = 10**8  # bytes, of safetensors


def check_content(path: Path, suffix: str) -> None:
    """Raises ValueError for a file that is not a checkpoint, or one of another format.

    These are empty files, Git LFS pointers, web pages, images, archives, and checkpoints whose
    extension is that of another format.
    """
    with path.open("rb") as file:
        start = file.read(512)
    text = start.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    if not start:
        raise ValueError(f"{path} is empty")
    if text.startswith(LFS_POINTER):
        raise ValueError(
            f"{path} is a Git LFS pointer, a placeholder for the weights: run `git lfs pull`"
        )
    if text.startswith(WEB_PAGES):
        raise ValueError(
            f"{path} is a web page, not a checkpoint: the server asked for a login or a "
            "confirmation, so download the file with a browser"
        )
    for known, kind in OTHERS.items():
        if start.startswith(known):
            raise ValueError(f"{path} is not a checkpoint, but {kind}")
    if start[257:262] == b"ustar":
        raise ValueError(
            f"{path} is a tar archive: unpack it, or if PyTorch before 0.1.10 wrote it, save it "
            "again by torch.save(torch.load(FILE), OTHER)"
        )
    if start.startswith(ZIP):
        check_archive(path, suffix)
    elif suffix != ".safetensors" and is_safetensors(start):
        raise ValueError(f"{path} is a safetensors file: rename it to {path.stem}.safetensors")


def check_archive(path: Path, suffix: str) -> None:
    """Raises ValueError for a zip archive that is not PyTorch's, or has the wrong extension."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"{path} is damaged or incomplete, as after an interrupted download: download it again"
        ) from error
    parts = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in parts:
        raise ValueError(
            f"{path} is a TorchScript program, which is not run: save the weights by "
            "torch.save(torch.jit.load(FILE).state_dict(), OTHER)"
        )
    if "data.pkl" not in parts:
        listed = ", ".join(name[:50] for name in names[:3]) or "nothing"
        raise ValueError(
            f"{path} is a zip archive of other files ({listed}), not a checkpoint: unpack it"
        )
    if suffix in (".safetensors", ".pdparams"):
        raise ValueError(f"{path} is a PyTorch file: rename it to {path.stem}.pth")


def is_safetensors(start: bytes) -> bool:
    """Returns whether a file that starts so is in the format safetensors."""
    return (
        len(start) > 9 and struct.unpack("<Q", start[:8])[0] < LARGEST_HEADER and start[8:9] == b"{"
    )
