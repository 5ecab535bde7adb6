"""People of pictures as layers, for tests that draw them."""

from __future__ import annotations

import numpy as np

from magicanimate.person.find import find_person
from magicanimate.person.layers import LayeredPerson, build_layers
from magicanimate.person.matte import find_matte


def layered(picture_HWC: np.ndarray) -> LayeredPerson:
    """Cut the person of a picture into layers."""
    found = find_person(picture_HWC)
    assert found is not None
    return build_layers(picture_HWC, find_matte(picture_HWC).only(found.parts_HW > 0), found.body)
