"""The ablation table of PP-Matting, on the embedded sample.

python launch.py --mode sweep --sweep configs/sweeps/pp_matting_ablation.py

Seven rows of 800 steps, about 17 min each.
"""

CONFIG = "pp_matting"


def sweep(add):
    add("paper")
    add("no_guidance", **{"model.guidance": False})
    add("no_pyramid_pooling", **{"model.pyramid_pooling": False})
    add("no_detail_branch", **{"model.detail": False})
    for loss in ("semantic", "detail", "fusion"):
        add(f"no_{loss}_loss", **{f"task.{loss}_weight": 0.0})
