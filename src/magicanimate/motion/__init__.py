"""Motion signals: what drives the animation, decoded, checked and rendered cleanly."""
