"""Model folders: what is in them, where they are, how they are read and written."""
