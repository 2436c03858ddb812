"""matting_jax from the command line: train, evaluate, predict, convert, export.

Cut out photos with a published network, which is downloaded once:
  python launch.py --mode predict --input photos/ --output cutouts/ \\
      --checkpoint pp_matting:human_512

Train on the embedded data set, score the run, and use it:
  python launch.py --config configs/modnet.py
  python launch.py --mode evaluate --workdir runs/modnet
  python launch.py --mode predict --workdir runs/modnet \\
      --input photos/ --output out/
  python launch.py --mode convert --workdir runs/modnet --output modnet.ckpt
  python launch.py --mode export --workdir runs/modnet --output modnet.onnx

Networks with a second input:
  python launch.py --mode predict --workdir runs/gca --trimap trimaps/ \\
      --input photos/ --output out/
  python launch.py --mode predict --workdir runs/bgmv2 --background empty.jpg \\
      --input frames/ --output out/

Any field of a config can be set: --config.batch_size=4. All flags: --help.
"""

import sys

from matting_jax.commandline import launch

if __name__ == "__main__":
    launch(sys.argv, __doc__)
