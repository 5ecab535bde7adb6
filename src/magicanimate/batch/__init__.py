"""Many animations from one list."""
