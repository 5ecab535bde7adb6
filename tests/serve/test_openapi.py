"""Requests made from the OpenAPI description, sane and insane. `benchmarks/service_fuzz.py` sends 2,000."""

from __future__ import annotations

from benchmarks.service_fuzz import fuzz


def test_no_generated_request_is_our_fault(app):
    sent = fuzz(app(hosts=("testserver",)).app, cases=10, seed=1)
    assert sum(sent.values()) >= 60
    assert not [status for status in sent if status >= 500]
