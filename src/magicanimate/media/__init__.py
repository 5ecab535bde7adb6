"""Pictures and videos: read, fitted and written. Imports no network.

Shape legend: F frames, H W pixels, C color channels; everything is RGB uint8 unless said otherwise.
"""

from magicanimate.media.audio import Audio
from magicanimate.media.claim import claimed
from magicanimate.media.pictures import Placement, fit_picture, load_picture, place
from magicanimate.media.reading import Clip, clip_of_frames, open_clip
from magicanimate.media.timing import Span
from magicanimate.media.writing import check_alpha, check_output, open_writer, settings_path, side_by_side

__all__ = [
    "Audio",
    "Clip",
    "Placement",
    "Span",
    "check_alpha",
    "check_output",
    "claimed",
    "clip_of_frames",
    "fit_picture",
    "load_picture",
    "open_clip",
    "open_writer",
    "place",
    "settings_path",
    "side_by_side",
]
