"""docs/configuration.md, made from the comments of `config.defaults()`.

python -m tests.configuration_page    writes the page
"""

import inspect
import re
import textwrap
from collections.abc import Callable

from ml_collections import ConfigDict

from matting_jax.config import defaults
from matting_jax.ranges import RANGES
from matting_jax.workdir.claim import FREE
from tests.helpers import ROOT

PAGE = ROOT / "docs" / "configuration.md"
# config.FIELD = VALUE  # comment
ASSIGNMENT = re.compile(r"    config\.([\w.]+) = .*?(?:  # (.*))?$")
INTRODUCTION = """# Configuration

A recipe, `configs/NAME.py`, starts from the defaults on this page and changes what its paper says.
`--config configs/NAME.py:VARIANT` selects a recipe and one of its variants. Every field can be set
on the command line, for example `--config.batch_size=4`, `--noconfig.allocator` or
`"--config.data.crop.rescale=(384,768)"`, whose parentheses a shell takes only in quotes.

A recipe also has fields that only its own network, task or crop rule reads. They are in `model`,
`task`, `synthesis`, `data.crop`, `test_time` and `optimizer.module_rates`; the comments of
`configs/NAME.py` explain them.

A run saves its config in `WORKDIR/config.json` and resumes only with the same one, except for
{free}

`python -m tests.configuration_page` writes this page from `matting_jax/defaults.py`.
"""


def comments_of(function: Callable) -> dict[str, str]:
    """Returns {field or group: comment} of the assignments to `config` in a function.

    A comment stands at the end of the line of the assignment, or on the lines above it.
    """
    comments, above = {}, []
    for line in inspect.getsource(function).splitlines():
        if line.startswith("    # "):
            above.append(line.removeprefix("    # "))
            continue
        if match := ASSIGNMENT.match(line):
            field, comment = match.groups()
            comments[field] = comment or " ".join(above)
        above = []
    return comments


def rows_by_group() -> dict[str, list[str]]:
    """Returns the rows of each group's table; a group without fields is a row of its parent."""
    config, groups = defaults(), {"": []}
    for field, comment in comments_of(defaults).items():
        value = config
        for name in field.split("."):
            value = value[name]
        is_group = isinstance(value, ConfigDict)
        if is_group and len(value):
            groups[field] = []
        else:
            shown = "" if is_group else f"`{value!r}`".replace("'", '"')
            interval = f" In `{RANGES[field]}`." if field in RANGES else ""
            row = f"| `{field}` | {shown} | {comment}{interval and '.'}{interval} |"
            groups[field.rpartition(".")[0]].append(row)
    return groups


def page() -> str:
    """Returns the text of docs/configuration.md."""
    comments, groups = comments_of(defaults), rows_by_group()
    *others, last = (f"`{field}`" for field in FREE)
    free = textwrap.fill(f"{', '.join(others)} and {last}.", width=100)
    lines = [INTRODUCTION.format(free=free)]
    for group, rows in groups.items():
        if group:
            lines += [f"## `{group}`", ""]
        if comments.get(group):
            lines += [comments[group], ""]
        if rows:
            lines += ["| field | default | meaning |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page())
