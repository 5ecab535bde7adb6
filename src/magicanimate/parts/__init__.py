"""The vocabulary of part maps: names, colors, regions, skeleton."""
