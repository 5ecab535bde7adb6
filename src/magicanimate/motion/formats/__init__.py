"""File formats of motions."""
