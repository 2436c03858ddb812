"""The ablation table of Deep Image Matting, on the embedded sample.

python launch.py --mode sweep --sweep configs/sweeps/dim_ablation.py

Seven rows.
"""

CONFIG = "dim"


def sweep(add):
    add("paper")
    add("no_refinement", **{"model.refine": False})
    add("alpha_loss", **{"task.composition_weight": 0.0})
    add("composition_loss", **{"task.alpha_weight": 0.0})
    add("correction_of_alpha", **{"model.correction": "alpha"})
    add("trimap_of_the_paper", **{"synthesis.trimap": "dim"})
    add("fixed_backgrounds", **{"data.train.fixed_backgrounds": 100})
