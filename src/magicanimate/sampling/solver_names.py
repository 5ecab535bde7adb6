"""Short names of the solvers, which settings are checked against before anything heavy is imported."""

from __future__ import annotations

from magicanimate.errors import did_you_mean

SOLVERS = {
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "dpm++1s": "DPMSolverSinglestepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "deis": "DEISMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler-a": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "pndm": "PNDMScheduler",
    "lcm": "LCMScheduler",
    "tcd": "TCDScheduler",
}
"""Short name -> class of diffusers. Other classes of diffusers may be named as they are."""


def check_solver(name: str) -> str:
    """Return the name, if there is such a solver. ValueError with a clause that says which are there."""
    if name in SOLVERS:
        return name
    if name.endswith("Scheduler"):
        import diffusers

        if hasattr(diffusers, name):
            return name
    near = did_you_mean(name, SOLVERS)
    raise ValueError(f"Unknown solver {name!r}{near or ': choose one of ' + ', '.join(SOLVERS)}")
