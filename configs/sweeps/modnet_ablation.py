"""The ablation table of MODNet, without its losses, with other contexts, on the embedded sample.

python launch.py --mode sweep --sweep configs/sweeps/modnet_ablation.py

Eleven rows of 2250 steps, each as long as the first command, about 9 min on two cores.
--config.steps=500 sets fewer steps for all rows, and any other field of the recipe likewise.
"""

CONFIG = "modnet"


def sweep(add):
    add("se")
    for context in ("easpp", "aspp", "none"):
        add(context, **{"model.context": context})
    for loss in ("semantic", "detail", "matte", "boundary", "compositional"):
        add(f"no_{loss}", **{f"task.{loss}_weight": 0.0})
    add("form_paper", **{"task.form": "paper"})
    add("sum_of_the_paper", **{"task.form": "paper", "task.boundary_weight": 0.0})
