"""Weights files: formats, wrappings, and what is refused."""

from __future__ import annotations

import pickle

import pytest
import torch
from safetensors.torch import save_file

from magicanimate.errors import InputError
from magicanimate.evaluate.features.reading import is_torchscript, read_published

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_formats_and_wrappings_are_the_same(tmp_path):
    torch.save(STATE, tmp_path / "plain.pth")
    torch.save(STATE, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(STATE, tmp_path / "safe.safetensors")
    wrapped = {"module." + name: value for name, value in STATE.items()}
    torch.save({"epoch": 3, "arch": "resnet-50", "state_dict": wrapped, "optimizer": {}}, tmp_path / "training.pth")
    for name in ("plain.pth", "old.pth", "safe.safetensors", "training.pth"):
        assert same(read_published(tmp_path / name), STATE), name


def test_a_prefix_that_only_some_names_have_stays(tmp_path):
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "a.pth")
    assert set(read_published(tmp_path / "a.pth")) == {"module.a", "b"}


class Unsafe:
    def __reduce__(self):
        return (print, ("this must not be printed",))


def test_code_in_a_pickle_is_not_run(tmp_path, capsys):
    torch.save({"a": Unsafe()}, tmp_path / "unsafe.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Unsafe()))
    for name in ("unsafe.pth", "bare.pth"):
        with pytest.raises(InputError, match=r"holds more than tensors, which is not safe"):
            read_published(tmp_path / name)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_damaged_and_missing_files(tmp_path, name):
    with pytest.raises(InputError, match=rf"{name} (is|are) missing"):
        read_published(tmp_path / name)
    for content in (b"", b"no weights", b"PK\x03\x04 no"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name} (is|are) damaged"):
            read_published(tmp_path / name)


@pytest.mark.parametrize("content", [{}, [torch.ones(1)], {"a": 1}, {"state_dict": {"a": "b"}}, torch.ones(2)])
def test_other_contents_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(InputError, match="no state dict"):
        read_published(tmp_path / "a.pth")


def test_torchscript_is_told_from_a_state_dict(tmp_path):
    torch.save(STATE, tmp_path / "a.pth")
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "b.pt"))
    (tmp_path / "c.pt").write_bytes(b"no")
    assert [is_torchscript(tmp_path / name) for name in ("a.pth", "b.pt", "c.pt")] == [False, True, False]
