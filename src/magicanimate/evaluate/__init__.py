"""Figures that need no downloaded network."""
