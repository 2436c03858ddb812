"""The ablation table of BackgroundMattingV2, on the embedded sample.

python launch.py --mode sweep --sweep configs/sweeps/bgmv2_ablation.py

Seven rows of 1500 steps, about 12 min of CPU time each.
"""

CONFIG = "bgmv2"


def sweep(add):
    add("paper")
    add("full", **{"model.refine_mode": "full"})
    add("thresholding", **{"model.refine_mode": "thresholding"})
    add("more_pixels", **{"model.sample_pixels": 320_000})
    add("kernel_1", **{"model.kernel_size": 1})
    add("no_shadow", **{"synthesis.shadow.chance": 0.0})
    capture = ("capture.jitter", "capture.affine", "noise")
    add("exact_background", **{f"synthesis.{x}.chance": 0.0 for x in capture})
