"""The ablation table of BiSeNet V2, on the embedded sample.

python launch.py --mode sweep --sweep configs/sweeps/bisenet_v2_ablation.py

Twelve rows.
"""

CONFIG = "bisenet_v2"


def sweep(add):
    add("released")
    for aggregation in ("sum", "concat"):
        add(aggregation, **{"model.aggregation": aggregation})
    add("no_booster", **{"model.booster": False})
    add("two_boosters", **{"model.booster_positions": ("aux2", "aux3")})
    add("one_booster", **{"model.booster_positions": ("aux5_4",)})
    add("heads_of_the_paper", **{"model.heads": "paper"})
    add("narrower", **{"model.channel_ratio": 0.5})
    add("expansion_4", **{"model.expansion": 4})
    add("wider", **{"model.width": 1.5})
    add("deeper", **{"model.depth": 2})
    add("all_pixels", **{"task.hard_probability": 1.0})
