"""Requests that schemathesis makes from the service's OpenAPI description; exit code 1 if one gets a 5xx answer.

python benchmarks/service_fuzz.py --cases 2000
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis
import schemathesis

from magicanimate.serve.app import create_app
from magicanimate.serve.job_states import Record, ended
from magicanimate.serve.options import LOCAL, ServeOptions

# Answers that say 5xx on purpose: the service is full, not broken.
MEANT = (503, 507)


def fuzz(app: Any, cases: int, seed: int) -> Counter[int]:
    """Send about `cases` requests of each kind, valid and invalid ones; counts the answers by status."""
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app)
    known = finished_job(app)
    answers: Counter[int] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE:
            try:
                send_all(operation.as_strategy(generation_mode=mode), known, answers, cases // 2 or 1, seed)
            except hypothesis.errors.Unsatisfiable:  # nothing about this request can be wrong
                continue
    return answers


def send_all(strategy: Any, known: str, answers: Counter[int], cases: int, seed: int) -> None:
    """Send generated requests; every other one that names a job names one that there is."""

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=cases, database=None, deadline=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(strategy)
    def send(case: Any) -> None:
        if "job" in (case.path_parameters or {}) and sum(answers.values()) % 2 and case.method != "DELETE":
            case.path_parameters["job"] = known
        answers[case.call().status_code] += 1

    send()


def finished_job(app: Any) -> str:
    """A job that has ended, so that its events end too."""
    service = app.state.service
    record = Record(
        id="0" * 32, client=LOCAL, model="tiny", settings={}, picture="p", motion="m", created=time.time()
    )  # fmt: skip
    service.store.add(record, lambda *_: None)
    service.store.change(record.id, lambda job: ended(job, "done", time.time(), result="result-1.mp4"))
    return record.id


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000, help="requests in all, at least")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="schemathesis")
    answers: Counter[int] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(ServeOptions(data=Path(folder), page=False, hosts=("testserver",)))
        rounds = 0
        while sum(answers.values()) < arguments.cases:
            answers += fuzz(app, max(10, arguments.cases // 10), arguments.seed + rounds)
            app.state.service.store.remove("0" * 32)
            rounds += 1
    for status, count in sorted(answers.items()):
        print(f"{status}: {count}")
    faults = sum(count for status, count in answers.items() if status >= 500 and status not in MEANT)
    print(f"{sum(answers.values())} requests, {faults} of them answered with 5xx")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
