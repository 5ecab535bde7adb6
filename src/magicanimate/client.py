"""The client of the service's API under its public name; see `magicanimate.serve.client`."""

from magicanimate.serve.client import Client, RequestError

__all__ = ["Client", "RequestError"]
