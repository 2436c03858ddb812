"""The first network of a chain, which makes the trimap that the second takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matting_jax.config import read_config
from matting_jax.convert import load_checkpoint
from matting_jax.models import create_model, input_names
from matting_jax.prediction.matter import Matter
from matting_jax.prediction.trimap_from import rule_of


def first_network(workdir: str | Path, rule: Mapping[str, Any] | None, config: Any) -> Matter:
    """The network of the run in `workdir`, with its best weights and its test-time rule.

    Raises FileNotFoundError or ValueError where there is none, where it makes no trimaps or none by
    `rule`, and where the network of `config`, the second, takes none.
    """
    if "trimap" not in input_names(create_model(config.name, **config.model)):
        raise ValueError(f"{config.name} takes no trimap: leave out --trimap_from")
    saved = read_config(Path(workdir))
    rule_of(saved.name, rule)
    if saved.task.get("labels", "trimap") != "trimap":
        raise ValueError(
            f"--trimap_from {workdir} tells other classes apart than those of a trimap: take a run "
            "of configs/bisenet_v2.py or its variant trimap"
        )
    variables = load_checkpoint(saved.name, workdir, **saved.model)
    return Matter(saved.name, variables, test_time=saved.test_time, **saved.model)
