"""The service: web page, HTTP API, jobs that survive, and the workers that compute them."""
