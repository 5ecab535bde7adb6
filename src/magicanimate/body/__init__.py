"""The parametric human: its rig, a person's tracks in a video, the fit of one to the other, and drawing the result.

Axes of the body: x to the person's left, y to the back, z up, meters. Pictures: x to the right, y down, pixels.
Shape legend: F video frames, J rig joints, N track joints, V vertices, P pose numbers, H W pixels.
"""
