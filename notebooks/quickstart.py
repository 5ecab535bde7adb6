# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # A photograph that moves
#
# One picture of a person and one motion give a video. `jupytext --to ipynb quickstart.py` makes a notebook of this
# file; in Colab, open that and run the next cell without its first `#`.

# %%
# # %pip install "magicanimate @ git+https://github.com/magicanimate/magicanimate"

# %%
from pathlib import Path

import magicanimate
from magicanimate import MagicAnimatePipeline

OUT = Path("outputs")
FRAMES, SIZE = 24, "256x256"

# %% [markdown]
# The model `tiny` comes inside the package, and so do a picture and a motion. Take your own instead: any photograph of
# a person, and a video of somebody moving, a DensePose video, keypoints, or BVH.

# %%
pipe = MagicAnimatePipeline.from_pretrained("tiny")
shipped = Path(magicanimate.__file__).parent / "assets" / "demo"
picture, motion = shipped / "picture.png", shipped / "motion.mp4"

# %% [markdown]
# ## The video

# %%
video = pipe(picture, motion, seed=1, size=SIZE, max_frames=FRAMES)
OUT.mkdir(exist_ok=True)
video.save(OUT / "quickstart.mp4", overwrite=True)
print(video.frames.shape, f"{video.fps:g} frames per second")

# %%
try:
    from IPython.display import Video as Player
    from IPython.display import display

    display(Player(str(OUT / "quickstart.mp4"), embed=True))
except ImportError:
    print(f"The video is at {OUT / 'quickstart.mp4'}")

# %% [markdown]
# ## Before another background

# %%
green = pipe(picture, motion, seed=1, size=SIZE, max_frames=FRAMES, background="#2e8b57")
green.save(OUT / "quickstart_green.mp4", overwrite=True)

# %% [markdown]
# `preset="preview"` draws without networks, `preset="fast"` computes fewer steps. More: `magicanimate animate --help`.
