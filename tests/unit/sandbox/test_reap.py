"""What detaches itself ends with the program that asked for it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opencode_cache.sandbox import reap

LEAVES_ONE = """
import subprocess, sys
from opencode_cache.sandbox import reap

# A program that ends, and leaves a process in a session of its own.
PROGRAM = '''
import subprocess
print(subprocess.Popen(["sleep", "600"], start_new_session=True, stdout=subprocess.DEVNULL).pid)
'''
with reap.nothing_left():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: other systems have no subreaper")
def test_a_process_that_detached_itself_is_gone():
    environment = os.environ | {"PYTHONPATH": str(Path(reap.__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", LEAVES_ONE],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    pid = done.stdout.strip()
    assert pid.isdigit(), done
    limit = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < limit:
        time.sleep(0.01)
    assert not Path(f"/proc/{pid}").exists()
