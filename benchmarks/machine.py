"""Name the machine for the results of measurements."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def machine_name(cpuinfo: Path = CPUINFO) -> str:
    """Processor, its widest arithmetic as torch sees it, and the number of cores: `AMD EPYC, AVX2, 2 cores`."""
    import torch

    named = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    name = named[1].strip() if named else platform.processor() or platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores"
