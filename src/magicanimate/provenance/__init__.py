"""Saying that a video was made by a model: for machines always, signed where a certificate is configured, visibly on
request. And finding out later whether a file says so."""

from magicanimate.provenance.label import labeled
from magicanimate.provenance.manifest import configured, mark
from magicanimate.provenance.marks import AI_GENERATED

__all__ = ["AI_GENERATED", "configured", "labeled", "mark"]
