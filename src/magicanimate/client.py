"""The client of the service's API under its public name; see `magicanimate.serve.client`."""

from magicanimate.serve.client import Client, MissingFile, RequestError, Unreachable

__all__ = ["Client", "MissingFile", "RequestError", "Unreachable"]
