"""Finds which network weights are of: by their record, by the name of a file, by their tensors."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flax import linen as nn

from matting_jax.convert.files import read_content
from matting_jax.convert.find import Content
from matting_jax.convert.guesses import ALIKE, similarity, variants
from matting_jax.convert.identity import Identity, identity_of_run, keywords_of, read_identity
from matting_jax.convert.known import find_known, known_files, locate
from matting_jax.convert.tables import describe, find_names
from matting_jax.models import NETWORKS, create_model, name_of

logger = logging.getLogger("matting_jax")


def find_identity(
    source: str | Path, network: str | None = None, keywords: Mapping[str, Any] | None = None
) -> Identity:
    """Returns the identity of a workdir, a file, or a published file by name.

    Args:
        source: what `locate` takes.
        network: name of the network, if the caller knows it.
        keywords: its keywords, if the caller knows them: they are used where nothing is recorded.

    Raises:
        ValueError: if the weights are not of `network`, or their network cannot be identified.
        FileNotFoundError: if there are no such weights.
    """
    path = locate(source)
    identity = recorded_identity(source, path)
    if identity is None and network and keywords:
        return Identity(network, keywords, origin={"file": path.name})
    if identity is None:
        model = recognise(path, read_content(path), network)
        identity = Identity(name_of(model), keywords_of(model), origin={"file": path.name})
        logger.info(f"{source} is a checkpoint of {describe(model)}, by its tensors")
    if network not in (None, identity.network):
        raise ValueError(f"{source} holds {identity.network}, not {network}")
    return identity


def recorded_identity(source: str | Path, path: Path) -> Identity | None:
    """Returns the identity that is recorded of weights, or known by the name of their file.

    Args:
        source: what the user asks for.
        path: the workdir or file that `locate` returns for it.

    Raises:
        FileNotFoundError: if `path` is a folder but no workdir.
        ValueError: if `source` names a file that holds only a backbone.
    """
    if path.is_dir():
        return identity_of_run(path)
    known = find_known(source)
    if known and known.file.backbone:
        raise ValueError(
            f"{known.label} is only a backbone: start a training from it by "
            f"--config.init.backbone={known.label}"
        )
    return (known and known.identity) or read_identity(path) or identity_by_file_name(path)


def identity_by_file_name(path: Path) -> Identity | None:
    """Returns the identity of the published file of this name, None if there is none."""
    for known in known_files():
        if known.file.file == path.name and not known.file.backbone:
            return known.identity
    return None


def recognise(path: Path, content: Content, network: str | None = None) -> nn.Module:
    """Returns the network whose tensors a file holds.

    Args:
        path: the file, for error messages.
        content: what it holds.
        network: name of the network if it is known; its variants are then compared.

    Raises:
        ValueError: if the tensors are those of no network, or of variants that differ otherwise.
    """
    best, found = 0.0, None
    for model in candidates(content, network):
        score = similarity(content, model)
        if score > best:
            best, found = score, model
        if score == 1:
            break
    if found is None or best < ALIKE:
        raise ValueError(
            f"{path} has no record of its network, and its tensors match no known network: pass "
            "--config FILE, in Python network="
        )
    if untold := find_names(found).untold:
        raise ValueError(
            f"{path} is a checkpoint of {name_of(found)}, but its tensors do not determine "
            f"{untold}: pass a config and its keywords, or the keywords to load()"
        )
    return found


def candidates(content: Content, network: str | None) -> Iterator[nn.Module]:
    """Yields networks to compare a file with: all, then the variants of the closest one.

    With `network` only its variants.
    """
    if network is None:
        models = [create_model(name) for name in NETWORKS]
        yield from models
        network = name_of(max(models, key=lambda model: similarity(content, model)))
    yield from variants(network)
