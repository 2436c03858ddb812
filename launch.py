"""matting_jax from the command line: train, evaluate, predict, convert, export.

python launch.py --config configs/modnet.py
python launch.py --mode evaluate --workdir runs/modnet
python launch.py --mode predict --workdir runs/modnet --input photos/ --output cutouts/
python launch.py --mode predict --workdir runs/gca --input photos/ --trimap trimaps/ --output out/
python launch.py --mode predict --workdir runs/bgmv2 --input frames/ --background b.jpg --output o/
python launch.py --mode convert --workdir runs/modnet --output modnet.ckpt
python launch.py --mode export --workdir runs/modnet --output modnet.stablehlo

Any field of a config can be set: --config.batch_size=4. All flags: --help.
"""

import sys

from matting_jax.commandline import launch

if __name__ == "__main__":
    launch(sys.argv, __doc__)
