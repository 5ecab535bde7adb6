"""One output belongs to one run at a time: real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from magicanimate.errors import InputError
from magicanimate.media import claimed

HOLD = """
import sys, time
from pathlib import Path
from magicanimate.media import claimed
with claimed(Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "a.mp4"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"mine\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_what_another_process_writes_is_refused_and_free_when_it_is_killed(tmp_path, holder):
    with pytest.raises(InputError, match="Another run is writing"), claimed(tmp_path / "a.mp4"):
        pass
    with claimed(tmp_path / "b.mp4"):  # another name is free
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with claimed(tmp_path / "a.mp4"):
        assert [path.name for path in tmp_path.iterdir()] == [".a.mp4.lock"]
    assert list(tmp_path.iterdir()) == []


def test_many_processes_take_turns(tmp_path):
    """Whoever has the claim finds no one else's mark; some are refused, nobody meets another."""
    code = (
        "import sys, time, os\nfrom pathlib import Path\nfrom magicanimate.errors import InputError\n"
        "from magicanimate.media.claim import claimed\nout, mark = Path(sys.argv[1]), Path(sys.argv[1] + '.mark')\n"
        "for turn in range(150):\n"
        "    try:\n"
        "        with claimed(out):\n"
        "            os.close(os.open(mark, os.O_CREAT | os.O_EXCL)); mark.unlink()\n"
        "    except InputError:\n"
        "        time.sleep(0.0005)\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, tmp_path / "a"]) for _ in range(3)]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_locked_nothing_is_claimed(tmp_path):
    with claimed(tmp_path / "missing" / "a.mp4"):
        pass
    if os.geteuid():
        tmp_path.chmod(0o500)
        with claimed(tmp_path / "a.mp4"):
            pass
        tmp_path.chmod(0o700)
