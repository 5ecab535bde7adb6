"""Compare our networks with the original's stored outputs: `python benchmarks/parity.py --goldens DIR`.

One line per output: name, maximal absolute error, tolerance, PASS or FAIL. Lines that begin with "control:" are
negative controls, which have to differ by more than the bound that is printed. Exit code 0 if all is as it should
be, 1 if anything is not, 2 if the folder cannot be used.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "tests")]  # so that it runs from anywhere, installed or not

import torch  # noqa: E402

from golden_cases import Comparison, all_cases  # noqa: E402
from magicanimate.engine.device import select_device  # noqa: E402
from magicanimate.errors import InputError  # noqa: E402

DESCRIPTIONS = ("tiny_shapes.json", "tiny_configs.json")


def main(arguments: list[str] | None = None) -> int:
    """Run all cases of a folder and print the comparisons; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--goldens", type=Path, default=ROOT / "tests" / "golden", metavar="DIR")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, ...: where the networks run, in full float32")
    chosen = parser.parse_args(arguments)
    folder = chosen.goldens
    try:
        failures = run(folder, select_device(chosen.device))
    except (InputError, KeyError, json.JSONDecodeError, OSError) as error:
        print(f"parity: {explain(error, folder)}", file=sys.stderr)
        return 2
    return 1 if failures else 0


def run(folder: Path, device: torch.device) -> int:
    """Print every comparison and a summary; returns the number of failures."""
    if not folder.is_dir():
        raise InputError(f"The goldens folder {folder} does not exist: give one with --goldens.")
    missing = [name for name in DESCRIPTIONS if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder} is not a goldens folder: it has no {' and no '.join(missing)}.")
    # CUDA would round the inputs of convolutions to 10 bits of mantissa
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    count = failures = 0
    for comparison in all_cases(folder, device):
        print(line(comparison), flush=True)
        count, failures = count + 1, failures + (not comparison.passed)
    if not count:
        raise InputError(f"The goldens folder {folder} holds no cases.")
    print(f"{count} outputs compared, {failures} failed")
    return failures


def line(comparison: Comparison) -> str:
    """One row of the table."""
    bound = ">" if comparison.control else "<="
    verdict = "PASS" if comparison.passed else "FAIL"
    return f"{comparison.name:<72} {comparison.error:10.3e} {bound:>2} {comparison.tolerance:8.1e} {verdict}"


def explain(error: Exception, folder: Path) -> str:
    """One sentence for an unusable folder."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, KeyError):
        return f"The goldens folder {folder} lacks the entry {error}."
    return f"The goldens folder {folder} cannot be read: {error}."


if __name__ == "__main__":
    sys.exit(main())
