r"""Render the picture and the motion that `make demo` uses: a person and a dance of the generator's test split.

python scripts/make_demo_assets.py --person 12 --dance 2003

The examples of the web page are made in the same way:

python scripts/make_demo_assets.py --person 3021 --dance 2007 --picture-size 512 \
    --out src/magicanimate/assets/examples/studio
python scripts/make_demo_assets.py --person 3024 --dance 2009 --picture-size 512 \
    --out src/magicanimate/assets/examples/hills
python scripts/make_demo_assets.py --person 3026 --dance 2019 --picture-size 512 \
    --out src/magicanimate/assets/examples/stripes
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from magicanimate.media.video import Video
from magicanimate.parts.densepose import PALETTE_25
from magicanimate.synth.clip import render_clip

ASSETS = Path(__file__).resolve().parent.parent / "src" / "magicanimate" / "assets" / "demo"
SIZE, FRAMES, FPS = 256, 32, 12.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--person", type=int, default=12, help="seed of the person, the place and the camera")
    parser.add_argument("--dance", type=int, default=2003, help="seed of the motion")
    parser.add_argument("--moment", type=float, default=10.0, help="seconds into the person's own motion: the picture")
    parser.add_argument("--start", type=float, default=2.0, help="seconds into the motion")
    parser.add_argument("--picture-size", type=int, default=SIZE, help="pixels per side of the picture")
    parser.add_argument("--out", type=Path, default=ASSETS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    still = render_clip(arguments.person, np.array([arguments.moment]), arguments.picture_size, "test")
    times = arguments.start + np.arange(FRAMES) / FPS
    dance = render_clip(arguments.person, times, SIZE, "test", motion_seed=arguments.dance)
    Image.fromarray(still.rgb[0]).save(arguments.out / "picture.png")
    about = {"what": "DensePose parts of a generated person", "person": arguments.person, "dance": arguments.dance}
    Video(PALETTE_25[dance.parts], FPS, about).save(arguments.out / "motion.mp4", overwrite=True)
    (arguments.out / "motion.mp4.json").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
