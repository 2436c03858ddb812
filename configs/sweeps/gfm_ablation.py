"""The ablation table of GFM, on the embedded sample.

python launch.py --mode sweep --sweep configs/sweeps/gfm_ablation.py

Eleven rows of about 20 min on two cores each.
"""

CONFIG = "gfm"


def sweep(add):
    for rosta in ("tt", "ft", "bt"):
        add(rosta, **{"model.rosta": rosta})
    add("sum_of_the_pyramid", **{"model.pyramid": "sum"})
    add("glance_of_logits", **{"task.glance_loss": "paper"})
    add("no_pyramid_pooling", **{"model.pyramid_pooling": False})
    add("no_bridge_block", **{"model.bridge_block": False})
    for loss in ("glance", "focus", "fusion", "composition"):
        add(f"no_{loss}", **{f"task.{loss}_weight": 0.0})
