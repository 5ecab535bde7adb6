"""Training data from videos and pictures of one's own: `magicanimate train prepare VIDEOS/ -o DATA/`."""
