"""Inputs of the networks that are made from picture and motion."""
