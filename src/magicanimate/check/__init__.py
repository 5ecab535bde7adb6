"""Checks a picture and a motion before anything is computed."""
