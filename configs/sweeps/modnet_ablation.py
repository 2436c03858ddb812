"""The ablation table of MODNet, without its losses, with other contexts, on the embedded sample.

python launch.py --mode sweep --sweep configs/sweeps/modnet_ablation.py

Eleven rows of 3600 steps, each as long as the first command, about 10 min on two cores.
--config.steps=500 sets fewer steps for all rows, and any other field of the recipe likewise.
"""

CONFIG = "modnet"
# The losses of the released trainer, which the rows change; the recipe has others.
RELEASED = {
    "task.form": "official",
    "task.semantic_weight": 10.0,
    "task.detail_weight": 10.0,
    "task.matte_weight": 1.0,
    "task.boundary_weight": 4.0,
}


def sweep(add):
    add("se", **RELEASED)
    for context in ("easpp", "aspp", "none"):
        add(context, **RELEASED, **{"model.context": context})
    for loss in ("semantic", "detail", "matte", "boundary", "compositional"):
        add(f"no_{loss}", **RELEASED | {f"task.{loss}_weight": 0.0})
    add("form_paper", **RELEASED | {"task.form": "paper"})
    add("sum_of_the_paper", **RELEASED | {"task.form": "paper", "task.boundary_weight": 0.0})
