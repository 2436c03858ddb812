"""Files of the Hugging Face hub and of Google Drive, fetched by libraries made for them."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from matting_jax.caches import one_at_a_time
from matting_jax.convert.fetch import accept, check_file
from matting_jax.convert.files import SUFFIXES, suffix_of
from matting_jax.files import WriteError, no_room

HUB = "hf://"
DRIVE = ("drive.google.com", "docs.google.com", "drive.usercontent.google.com")


def fetch_from_hub(address: str) -> Path:
    """Returns a file of the hub, from the cache of huggingface_hub or fetched into it.

    Args:
        address: hf://OWNER/REPOSITORY/FILE, or hf://OWNER/REPOSITORY@REVISION/FILE.

    Raises:
        ValueError: the address has another form.
        ImportError: huggingface_hub is not installed.
        FileNotFoundError: the file cannot be fetched.
        OSError: there is no room for it.
    """
    found = re.fullmatch(r"hf://([^/@]+/[^/@]+)(?:@([^/]+))?/(.+)", address)
    if not found:
        raise ValueError(f"{address} must be hf://OWNER/REPOSITORY/FILE")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise ImportError("hf:// needs huggingface_hub: pip install 'matting_jax[hub]'") from error
    repository, revision, file = found.groups()
    try:
        return Path(hf_hub_download(repository, file, revision=revision))
    except Exception as error:  # of the hub, of the network, or of the file system
        if full := no_room(error):
            raise OSError(f"{address} cannot be fetched: {full}") from error
        reason = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
        raise FileNotFoundError(
            f"{address} cannot be fetched ({reason}): download {file} by other means and pass its "
            "path"
        ) from error


def is_drive(address: str) -> bool:
    """Returns whether an address is one of Google Drive."""
    return urlsplit(address).hostname in DRIVE


def fetch_from_drive(address: str, folder: Path) -> Path:
    """Returns a file of Google Drive, whose name only the server knows, in `folder`.

    Raises ValueError for the link of a folder, and if the file is not the one that was fetched
    first; ImportError without gdown; FileNotFoundError if it cannot be fetched.
    """
    found = re.search(r"/d/([\w-]+)|[?&]id=([\w-]+)", address)
    if not found:
        raise ValueError(f"{address} is not the link of one file of Google Drive")
    with one_at_a_time(folder / ".lock", f"fetches {address}"):
        for path in folder.glob("*"):
            if suffix_of(path) in SUFFIXES:
                return check_file(path)
        try:
            import gdown
        except ImportError as error:
            raise ImportError(
                "Google Drive needs gdown: pip install 'matting_jax[drive]'"
            ) from error
        arriving = folder / "arriving"  # gdown continues what broke off here
        arriving.mkdir(parents=True, exist_ok=True)
        try:
            part = Path(gdown.download(id=found[1] or found[2], output=f"{arriving}/", resume=True))
        except Exception as error:  # gdown's own, those of requests, and OSError
            if full := no_room(error):
                raise WriteError(arriving, full) from error
            raise FileNotFoundError(
                f"{address} cannot be fetched ({error}): download it with a browser and pass its "
                "path"
            ) from error
        accept(part, folder / part.name, address)
    return folder / part.name
