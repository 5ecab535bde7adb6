"""Reference banks of several steps at once are those of single steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from magicanimate.models.compute import Compute
from magicanimate.sampling import reference_bank as banks
from magicanimate.sampling.loop import sample
from magicanimate.sampling.reference_bank import bank_group, bank_times
from magicanimate.sampling.reuse import FeatureReuse, Policies
from magicanimate.sampling.settings import SampleSettings
from random_models import random_model
from seeded import randn

REUSING = Policies(features=FeatureReuse(2))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("policies", "calls"), [(Policies(), [3, 2]), (REUSING, [3])])
def test_the_result_is_the_same(monkeypatch, batch, policies, calls):
    rows = []
    encode = banks.reference_bank
    monkeypatch.setattr(
        banks, "reference_bank", lambda network, ref, *rest: rows.append(len(ref)) or encode(network, ref, *rest)
    )
    model = random_model("rgb")
    settings = SampleSettings(steps=5, guidance=2.0, window=8, overlap=2, policies=policies)
    inputs = randn(batch, 4, 8, 8, seed=1), randn(batch, 8, 3, 16, 16, seed=2), randn(batch, 4, 8, 8, 8, seed=3)
    expected = sample(model, *inputs, settings)
    assert set(rows) == {batch}
    rows.clear()
    model = replace(model, compute=Compute(bank_steps=3))
    torch.testing.assert_close(sample(model, *inputs, settings), expected, atol=1e-5, rtol=1e-4)
    assert rows == [batch * steps for steps in calls]
    monkeypatch.setattr(banks, "bank_group", lambda times, time, size: [time + 100])
    with pytest.raises(KeyError):
        sample(model, *inputs, settings)


def test_a_group_does_not_depend_on_where_a_run_begins():
    times = [9.0, 7.0, 5.0, 3.0, 1.0]
    assert [bank_group(times, time, 2) for time in times] == [[9, 7], [9, 7], [5, 3], [5, 3], [1]]
    assert bank_group(times, 4.0, 2) == [4.0]
    assert bank_times(REUSING, torch.tensor(times)) == [9, 5, 1]
