"""Feature networks of FID, FID-VID, FVD and LPIPS: `load_feature_network` reads one from a published weights file.

The networks are written in plain torch and named like the published state dicts; docs/feature-networks.md says which
files those are and how the layouts were verified. Importing this package imports no network library.
"""

from magicanimate.evaluate.features.loading import load_feature_network
from magicanimate.evaluate.features.published import KINDS, Kind

__all__ = ["KINDS", "Kind", "load_feature_network"]
