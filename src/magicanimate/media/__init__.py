"""Pictures and videos: read, fitted and written. Imports no network.

Shape legend: F frames, H W pixels, C colour channels; everything is RGB uint8 unless said otherwise.
"""

from magicanimate.media.pictures import Placement, fit_parts, fit_picture, load_picture, place
from magicanimate.media.reading import Clip, open_clip, resample
from magicanimate.media.writing import check_output, open_writer, settings_path, side_by_side

__all__ = [
    "Clip",
    "Placement",
    "check_output",
    "fit_parts",
    "fit_picture",
    "load_picture",
    "open_clip",
    "open_writer",
    "place",
    "resample",
    "settings_path",
    "side_by_side",
]
