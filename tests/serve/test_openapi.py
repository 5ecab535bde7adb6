"""Requests made from the OpenAPI description, sane and insane. `benchmarks/service_fuzz.py` sends 2,000."""

from __future__ import annotations

from benchmarks.service_fuzz import fuzz

from magicanimate.animation.settings import AnimateSettings


def test_no_generated_request_is_our_fault(app):
    sent = fuzz(app(hosts=("testserver",)).app, cases=10, seed=1)
    assert sum(sent.values()) >= 60
    assert not [status for status in sent if status >= 500]


def test_the_description_names_every_setting(app):
    described = app(hosts=("testserver",)).app.openapi()
    content = described["paths"]["/api/v1/jobs"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    name = content["$ref"].rpartition("/")[2]
    settings = described["components"]["schemas"][name]["properties"]["settings"]["contentSchema"]
    assert set(settings["properties"]) == set(AnimateSettings.model_fields)
    assert "wrap" in settings["properties"]
