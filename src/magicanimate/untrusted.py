"""Reads JSON, YAML, arrays and pickled tensors that may be spoilt or hostile.

Everything that comes from outside in these formats passes here: sizes and depths are checked before memory is taken,
no code is run, and whatever is wrong becomes one `InputError`.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from magicanimate.errors import InputError

if TYPE_CHECKING:
    import numpy as np

JSON_BYTES = 128 * 2**20
YAML_BYTES = 2**20
ARRAY_BYTES = 2 * 2**30
"""Bytes of one array, decompressed."""
_DEPTH = 100  # brackets within brackets
_NODES = 100_000  # values of a YAML file, aliases written out
_INFLATION = 1100  # deflate reaches 1032:1, and only on data that is all the same
_PICKLE_BYTES = 64 * 2**20  # of a zip archive's records that are compressed, which PyTorch never writes
_HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")


# ---------------------------------------------------------------------------------------------------- JSON and YAML
def parse_json(text: str | bytes) -> Any:
    """Parse JSON, with or without a byte order mark.

    Raises:
        ValueError: it is no JSON, too large, nested too deeply, or holds characters that are none.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > JSON_BYTES:
        raise ValueError(f"it has more than {JSON_BYTES // 2**20} MB")
    _check_depth(data)
    try:
        value = json.loads(data.decode(_encoding(data)))
        if _HALF_CHARACTER.search(data):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} in line {error.lineno}") from error
    except UnicodeError as error:
        raise ValueError("its characters are not UTF-8") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:  # Python refuses to read numbers of thousands of digits
        raise ValueError("a number in it is too long") from error
    return value


def _encoding(data: bytes) -> str:
    """UTF-8 unless a byte order mark says otherwise."""
    return "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"


def _check_depth(data: bytes) -> None:
    """Brackets in strings count too: no text of ours has a hundred of them open."""
    import numpy as np

    step_of_byte = np.zeros(256, np.int8)
    step_of_byte[list(b"[{")], step_of_byte[list(b"]}")] = 1, -1
    depth = 0
    for start in range(0, len(data), 2**22):
        steps = np.cumsum(
            step_of_byte[np.frombuffer(data, np.uint8, min(2**22, len(data) - start), start)], dtype=np.int32
        )
        if len(steps) and depth + int(steps.max()) > _DEPTH:
            raise ValueError("it is nested too deeply")
        depth += int(steps[-1]) if len(steps) else 0


def read_json(path: Path, what: str, advice: str = "write it again") -> Any:
    """Read a JSON file; `what` names it in messages, `advice` says what to do about a bad one.

    Raises:
        InputError: it is missing, or not JSON within the limits.
    """
    try:
        return parse_json(_read_bytes(path, what, JSON_BYTES))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{what} {path} is not JSON that can be read ({error}); {advice}.") from error


def read_json_object(path: Path, what: str, advice: str = "write it again") -> dict[str, Any]:
    """Read a JSON file that holds an object, as `read_json`."""
    content = read_json(path, what, advice)
    if not isinstance(content, dict):
        raise InputError(f"{what} {path} is not a JSON object; {advice}.")
    return content


def parse_yaml(text: str | bytes) -> Any:
    """Parse YAML that holds plain values.

    Raises:
        ValueError: it is no YAML, too large with its aliases written out, contains itself, or is nested too deeply.
    """
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{error.problem or 'it is no YAML'}{where}") from error
    except yaml.YAMLError as error:
        raise ValueError("it has characters that YAML does not allow") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:  # dates and numbers that are none
        raise ValueError("a value in it cannot be read") from error
    _count_nodes(value)
    return value


def _count_nodes(value: Any) -> None:
    """Refuse what aliases blow up, or make contain itself."""
    count, waiting = 0, [(value, 0)]
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if depth > _DEPTH or count > _NODES:
            raise ValueError("it is nested too deeply, or its aliases stand for too much")
        if isinstance(node, dict):
            waiting += [(inner, depth + 1) for inner in node.values()]
        elif isinstance(node, list | tuple | set):
            waiting += [(inner, depth + 1) for inner in node]


def read_yaml_mapping(path: Path, what: str) -> dict[str, Any]:
    """Read a YAML file that holds a mapping with names as keys.

    Raises:
        InputError: it is missing, or no such YAML.
    """
    try:
        content = parse_yaml(_read_bytes(path, what, YAML_BYTES))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{what} {path} is not YAML that can be read ({error}); correct it.") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(f"{what} {path} is not a mapping of settings.")
    return content


def _read_bytes(path: Path, what: str, most: int) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{what} {path} is not a file.")
        if path.stat().st_size > most:
            raise InputError(f"{what} {path} has more than {most // 2**20} MB, which is too large to be one.")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{what} {path} is missing.") from error
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror or error}.") from error


# ----------------------------------------------------------------------------------------------------------- arrays
def array_names(path: Path) -> list[str]:
    """Return names of the arrays in an npz file; none for npy and for what cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except _ZIP_FAULTS:
        return []


def read_array(path: Path, names: Sequence[str] = ()) -> np.ndarray:
    """Read an npy file, or of an npz file the first array that is there of `names`, else its first one.

    Raises:
        InputError: the file is damaged, its header promises more than it holds, or the array holds Python objects or
            more than ARRAY_BYTES.
    """
    present = array_names(path)
    chosen = next((name for name in names if name in present), present[0] if present else None)
    with ExitStack() as files:

        def source() -> tuple[IO[bytes], int]:
            if chosen is None:
                return files.enter_context(path.open("rb")), path.stat().st_size
            return _open_member(files, path, chosen)

        return _array(path, source)


def read_named_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read arrays of an npz file. Raises InputError as `read_array`, and if one is missing."""
    present = array_names(path)
    missing = [name for name in names if name not in present]
    if missing:
        raise InputError(f"{path} has no array {' and no '.join(missing)}; write it again.")
    arrays = {}
    for name in names:
        with ExitStack() as files:
            arrays[name] = _array(path, partial(_open_member, files, path, name))
    return arrays


def _open_member(files: ExitStack, path: Path, name: str) -> tuple[IO[bytes], int]:
    """Return a member of an npz file, and how many bytes it has."""
    archive = files.enter_context(zipfile.ZipFile(path))
    about = next(member for member in archive.infolist() if member.filename in (f"{name}.npy", name))
    if about.file_size > _INFLATION * max(about.compress_size, 1):
        raise ValueError("its sizes contradict each other")
    return files.enter_context(archive.open(about)), about.file_size


def _array(path: Path, source: Callable[[], tuple[IO[bytes], int]]) -> np.ndarray:
    import numpy as np

    try:
        file, size = source()
        shape, in_columns, dtype = _array_header(file)
        wanted = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or wanted > size or min(shape, default=0) < 0:
            raise ValueError("its header is wrong")
        if wanted > ARRAY_BYTES:
            raise InputError(
                f"{path} holds an array of {wanted / 2**30:.1f} GB, more than {ARRAY_BYTES // 2**30} GB; use a smaller "
                "type such as uint8, or cut it."
            )
        data = bytearray()
        while len(data) < wanted:  # a compressed member may end early, whatever it says
            chunk = file.read(min(wanted - len(data), 2**24))
            if not chunk:
                raise ValueError("it is cut off")
            data += chunk
        array = np.frombuffer(data, dtype, math.prod(shape))
        return array.reshape(shape, order="F" if in_columns else "C")
    except InputError:
        raise
    except _ARRAY_FAULTS as error:
        raise InputError(f"{path} is not an array file that can be read; save it again as .npz or .npy.") from error


def _array_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    import numpy as np

    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError("its version is not known")
    return read(file)


_ZIP_FAULTS: tuple[type[Exception], ...] = (
    OSError, ValueError, EOFError, KeyError, IndexError, StopIteration, NotImplementedError, RuntimeError,
    UnicodeError, zipfile.BadZipFile, OverflowError,
)  # fmt: skip
"""Exceptions of Python's zip reader for archives that are damaged, encrypted, or of unknown kinds."""


def _array_faults() -> tuple[type[Exception], ...]:
    """NumPy reads headers by Python's own parser, and decompression has errors of its own."""
    import lzma
    import tokenize
    import zlib

    return (*_ZIP_FAULTS, SyntaxError, TypeError, MemoryError, tokenize.TokenError, zlib.error, lzma.LZMAError)


_ARRAY_FAULTS = _array_faults()
_TENSOR_FAULTS: tuple[type[Exception], ...] = (*_ARRAY_FAULTS, AttributeError, AssertionError)
"""PyTorch's unpickler trusts what it reads."""


# ------------------------------------------------------------------------------------------------- pickled tensors
def read_tensors(path: Path, what: str, advice: str, device: Any = "cpu") -> Any:
    """Read a file of PyTorch that holds tensors and plain values; no code of it is run.

    Raises:
        InputError: it is missing, damaged, or holds anything else.
    """
    import pickle

    import torch

    try:
        _check_archive(path)
        return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{what} {path} is missing.") from error
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{what} {path} is damaged, or holds more than tensors, which is not safe; {advice}."
        ) from error
    except _TENSOR_FAULTS as error:
        raise InputError(f"{what} {path} is damaged; {advice}.") from error


def tensor_names(file: IO[bytes], what: str) -> list[str]:
    """Read the names in a state dict, perhaps in its entry `state_dict`, that PyTorch wrote; no numbers are read.

    Raises:
        InputError: it is damaged, or holds anything but tensors and plain values.
    """
    import pickle

    import torch

    try:
        with torch.serialization.skip_data():
            content = torch.load(file, map_location="meta", weights_only=True)
        return list(content.get("state_dict", content))
    except pickle.UnpicklingError as error:
        raise InputError(f"{what} is damaged, or holds more than tensors, which is not safe.") from error
    except _TENSOR_FAULTS as error:
        raise InputError(f"{what} is damaged.") from error


def _check_archive(path: Path) -> None:
    """Refuse compressed records that would take far more memory than the file has bytes."""
    if not path.is_file():
        if path.exists():
            raise OSError("no file")
        raise FileNotFoundError(path)
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        inflated = sum(about.file_size for about in archive.infolist() if about.compress_type != zipfile.ZIP_STORED)
    if inflated > _PICKLE_BYTES:
        raise ValueError("its records are compressed")


def read_pickled_object(
    path: Path, what: str, advice: str, names: Sequence[str], device: Any = "cpu"
) -> dict[str, Any]:
    """Read a dictionary with certain entries from a pickle, as `read_tensors`."""
    content = read_tensors(path, what, advice, device)
    if not isinstance(content, dict) or not all(name in content for name in names):
        raise InputError(f"{what} {path} has other content than it should ({', '.join(names)}); {advice}.")
    return content
