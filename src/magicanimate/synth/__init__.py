"""Procedural clips of people with exact ground truth: picture, DensePose parts, motion.

Data flow: `body` (shape) + `pose` (motion) + `outfit` (looks) + `background` -> `render` -> `clip` -> `dataset`.
"""
