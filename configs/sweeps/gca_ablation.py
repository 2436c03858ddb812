"""The ablation table of GCA, on the embedded sample.

python launch.py --mode sweep --sweep configs/sweeps/gca_ablation.py

Nine rows of 1000 steps, about 27 min of CPU time each.
"""

CONFIG = "gca"


def sweep(add):
    add("paper")
    add("no_attention", **{"model.attention": False})
    add("no_guidance", **{"model.guidance": False})
    add("cosine", **{"model.normalise": "both"})
    for loss in ("comp", "smooth_l1", "grad", "gabor"):
        add(f"with_{loss}", **{f"task.{loss}_weight": 1.0})
    add("one_foreground", **{"data.train.combine": 0.0})
