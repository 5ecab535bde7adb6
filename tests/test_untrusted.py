"""Files that are spoilt or hostile: one sentence each, before memory is taken."""

from __future__ import annotations

import io
import json
import pickle
import resource
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from magicanimate.errors import InputError
from magicanimate.untrusted import (
    parse_json,
    parse_yaml,
    read_array,
    read_json_object,
    read_pickled_object,
    read_yaml_mapping,
)


def test_json_with_a_byte_order_mark_is_read():
    for data in (b'\xef\xbb\xbf{"a": 1}', '{"a": 1}'.encode("utf-16"), '{"a": 1}'):
        assert parse_json(data) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 200_000 + "]" * 200_000, "nested"), ("[" * 101 + "]" * 101, "nested"), ("{", "line 1"),
        ("9" * 5000, "too long"), (b"\xff\xff{", "line 1|UTF-8"), (b'"\xe4"', "UTF-8"), ('"\\ud83d"', "UTF-8"),
    ],
)  # fmt: skip
def test_json_that_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_json(text)


def test_json_nested_within_reason_is_read():
    assert parse_json("[" * 99 + "]" * 99)
    assert parse_json('"\\ud83d\\ude00"') == "\U0001f600"


def test_a_json_file_says_which_and_what_to_do(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(InputError, match=r"The note .*a\.json is missing"):
        read_json_object(path, "The note")
    path.write_text("[1]")
    with pytest.raises(InputError, match="not a JSON object; do it again"):
        read_json_object(path, "The note", "do it again")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
         "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n", "aliases"),
        ("a: &a\n  b: *a\n", "aliases"), ("{" * 3000, "nested"), ("!!python/object/apply:os.system ['true']", "line 1"),
        ("? [a]\n: b\n", "line 1"), ("\x00", "characters"), ("a: 2026-13-45", "cannot be read"), ("\t", "line 1"),
    ],
)  # fmt: skip
def test_yaml_that_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_yaml(text)


def test_yaml_with_an_alias_is_read(tmp_path):
    assert parse_yaml("a: &a [1]\nb: *a\n") == {"a": [1], "b": [1]}
    (tmp_path / "c.yaml").write_text("1: 2\n")
    with pytest.raises(InputError, match="not a mapping of settings"):
        read_yaml_mapping(tmp_path / "c.yaml", "The configuration")


def npy(header: dict, data: bytes = bytes(100)) -> bytes:
    text = str(header).encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def zipped(content: bytes, **options: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        archive.writestr("parts.npy", content)
    return buffer.getvalue()


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


GOOD = np.arange(24, dtype=np.int16).reshape(2, 3, 4)


def test_arrays_are_read_as_numpy_does(tmp_path):
    for array in (GOOD, np.asfortranarray(GOOD), GOOD.astype(">f8"), GOOD[:0], np.array(3)):
        np.save(tmp_path / "a.npy", array)
        np.savez_compressed(tmp_path / "a.npz", other=GOOD + 1, parts=array)
        assert np.array_equal(read_array(tmp_path / "a.npy"), array)
        assert np.array_equal(read_array(tmp_path / "a.npz", ("parts",)), array)
        assert np.array_equal(read_array(tmp_path / "a.npz"), GOOD + 1)  # the first, where none is named


@pytest.mark.parametrize(
    "content",
    [
        npy({"descr": "|u1", "fortran_order": False, "shape": (10**6, 10**6)}),
        npy({"descr": "|u1", "fortran_order": False, "shape": (10**12,)}),
        npy({"descr": "|u1", "fortran_order": False, "shape": (-1, 8, 8)}),
        npy({"descr": "|u1", "fortran_order": False, "shape": (10**400,)}),
        npy({"descr": "|x9", "fortran_order": False, "shape": (2,)}),
        npy({"descr": "|O", "fortran_order": False, "shape": (2,)}),
        saved(np.array([{"a": 1}], object)),
        saved(GOOD)[:-1], saved(GOOD)[:40], saved(GOOD).replace(b"(2, 3, 4)", b"(2, 3, 4("), b"\x93NUMPY\x09\x09",
        zipped(npy({"descr": "|u1", "fortran_order": False, "shape": (10**12,)})),
        zipped(saved(GOOD), compression=zipfile.ZIP_DEFLATED)[:-30] + bytes(30),
        b"PK\x03\x04", b"",
    ],
)  # fmt: skip
def test_arrays_that_lie_take_no_memory(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="not an array file that can be read"):
        read_array(tmp_path / "a.npz")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes


def test_a_zip_bomb_is_refused_by_its_header(tmp_path):
    path = tmp_path / "bomb.npz"
    head = npy({"descr": "|u1", "fortran_order": False, "shape": (3000, 1000, 1000)}, b"")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("parts.npy", head + bytes(10**7))
    data = path.read_bytes()
    for real, told in ((len(head) + 10**7, len(head) + 3 * 10**9),):
        data = data.replace(struct.pack("<I", real), struct.pack("<I", told))
    path.write_bytes(data)
    with pytest.raises(InputError, match="array"):
        read_array(path)


def pickled(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def test_tensors_are_read(tmp_path):
    (tmp_path / "a.pt").write_bytes(pickled({"about": {"seed": 1}, "state": {"x": torch.ones(3)}}))
    found = read_pickled_object(tmp_path / "a.pt", "The step", "delete it", ("about", "state"))
    assert torch.equal(found["state"]["x"], torch.ones(3))


@pytest.mark.parametrize(
    "content",
    [
        b"", b"garbage", b"\x80\x02.", b"PK\x03\x04", pickle.dumps({"a": 1}, 2), pickle.dumps(print, 2), pickled(print),
        pickled(3), pickled([]), pickled({}), pickled({"about": 1}), pickled(torch.zeros(2)),
        pickled({"about": 1, "state": 2})[:-300],
    ],
)  # fmt: skip
def test_pickles_that_are_something_else(tmp_path, content):
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"^The step .*; delete it\.$"):
        read_pickled_object(tmp_path / "a.pt", "The step", "delete it", ("about", "state"))


def test_compressed_records_are_not_inflated(tmp_path):
    whole = zipfile.ZipFile(io.BytesIO(pickled({"about": 1, "state": torch.zeros(20 * 2**20)})))
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in whole.namelist():
            archive.writestr(name, whole.read(name))
    assert (tmp_path / "a.pt").stat().st_size < 10**6
    with pytest.raises(InputError, match="damaged"):
        read_pickled_object(tmp_path / "a.pt", "The step", "delete it", ("about", "state"))


def test_a_row_of_nested_json_spoils_no_list(tmp_path):
    from magicanimate.batch.jobs import read_jobs

    good = {"image": "p.png", "motion": "m.mp4"}
    for name in good.values():
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "jobs.jsonl").write_text("[" * 100_000 + "]" * 100_000 + "\n" + json.dumps(good) + "\n")
    jobs, bad = read_jobs(tmp_path / "jobs.jsonl", Path("out"))
    assert [job.line for job in jobs] == [2]
    assert [(row.line, "nested" in row.sentence) for row in bad] == [(1, True)]


def test_a_configuration_that_extends_itself_or_nothing(tmp_path):
    from magicanimate.train.config import read_settings

    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(InputError, match="extends itself"):
        read_settings(tmp_path / "a.yaml")
    for value in ("3", "[a]", "{}"):
        (tmp_path / "c.yaml").write_text(f"extends: {value}\n")
        with pytest.raises(InputError, match="must be the name of one configuration"):
            read_settings(tmp_path / "c.yaml")
    with pytest.raises(InputError, match="has no value that can be read"):
        read_settings(tmp_path / "c.yaml", ["loop.steps=["]) if (tmp_path / "c.yaml").write_text(
            "stage: vae\n"
        ) else None


def test_a_model_whose_description_is_spoilt(tmp_path, model_folder):
    import shutil

    from magicanimate.models.model import load_model

    for name, value in (
        ("act_fn", []),
        ("layers_per_block", 2**31),
        ("in_channels", None),
        ("block_out_channels", ["x"]),
    ):
        folder = tmp_path / name
        shutil.copytree(model_folder, folder)
        path = folder / "appearance" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
        with pytest.raises(InputError, match=r"^The network description .*config\.json .*\.$"):
            load_model(folder)
    load_model(model_folder)
