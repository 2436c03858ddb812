"""Weights by name: NETWORK:NAME of a published file, hf://OWNER/REPOSITORY/FILE, or an address.

A file or folder that exists is what its path says, whatever else the text could mean.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flax import traverse_util

from matting_jax.caches import cache_path, writable_folder
from matting_jax.choices import one_of
from matting_jax.convert.fetch import check_file, fetch
from matting_jax.convert.hosts import HUB, fetch_from_drive, fetch_from_hub, is_drive
from matting_jax.convert.identity import Identity, as_record
from matting_jax.convert.names import OfficialFile
from matting_jax.convert.tables import find_names
from matting_jax.models import NETWORKS, create_model

# A single letter before the colon is a drive.
NAME = re.compile(r"(\w\w+):(\w+)")
WEB = ("http://", "https://")


@dataclass(frozen=True)
class Known:
    """A published file with its network and its short name."""

    network: str
    name: str
    file: OfficialFile

    @property
    def label(self) -> str:
        """The name by which users ask for it."""
        return f"{self.network}:{self.name}"

    @property
    def identity(self) -> Identity:
        """The identity of its weights."""
        origin = {"name": self.label, "file": self.file.file}
        if self.file.address:
            origin["address"] = self.file.address
        config = traverse_util.unflatten_dict(self.file.config, sep=".") or None
        return Identity(self.network, self.file.keywords, self.file.test_time, origin, config)


def known_files() -> Iterator[Known]:
    """Yields the published files of all networks."""
    for network in NETWORKS:
        for name, file in files_of(network).items():
            yield Known(network, name, file)


def files_of(network: str) -> dict[str, OfficialFile]:
    """Returns the published files of a network by short name."""
    return dict(find_names(create_model(network)).files)


def find_known(source: str | Path) -> Known | None:
    """Returns the published file that `source` names, None if it is no such name.

    Raises ValueError for an unknown name, with the closest valid one.
    """
    found = NAME.fullmatch(str(source))
    if not found or Path(source).exists():
        return None
    network, name = found.groups()
    files = files_of(one_of(network, NETWORKS, "network"))
    if not files:
        raise ValueError(f"{network} has no published files: pass the path of a file")
    return Known(network, name, files[one_of(name, files, f"file of {network}")])


def locate(source: str | Path) -> Path:
    """Returns the file or workdir of `source`, which is fetched if it is a name or an address.

    What does not exist is returned as it is. Raises as `fetch` does.
    """
    text = str(source)
    if Path(source).exists():
        return Path(source)
    if text.startswith(HUB):
        return fetch_from_hub(text)
    if is_drive(text):
        return fetch_from_drive(text, folder_of(text))
    if text.startswith(WEB):
        return fetch(text, folder_of(text) / (Path(unquote(urlsplit(text).path)).name or "file"))
    known = find_known(source)
    return fetch_known(known) if known else Path(source)


def fetch_known(known: Known) -> Path:
    """Returns a published file, from the cache or fetched into it.

    Raises FileNotFoundError, which says which file to put where, if a person must download it.
    """
    file = known.file
    path = weights_folder() / known.network / file.file
    facts = {} if file.backbone else as_record(known.identity)
    if file.address:
        return fetch(file.address, path, sha256=file.sha256, licence=file.licence, facts=facts)
    if not path.exists():
        raise FileNotFoundError(
            f"{known.label} is {file.file}, which must be downloaded by hand from "
            f"{file.page}: save it as {path} (licence: {file.licence})"
        )
    return check_file(path, sha256=file.sha256, licence=file.licence, facts=facts)


def weights_folder() -> Path:
    """Returns the folder of fetched files of weights, which can be written."""
    return writable_folder(cache_path("~/.cache/matting_jax/weights"))


def folder_of(address: str) -> Path:
    """Returns the folder of the file at an address; each address has its own."""
    return weights_folder() / hashlib.sha256(address.encode()).hexdigest()[:16]
