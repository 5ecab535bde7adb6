"""Places a motion on the person in the picture."""
