"""Training data on disk, and its preparation from videos."""
