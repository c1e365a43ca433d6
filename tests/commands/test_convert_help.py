"""`merit convert NAME --help` answers at once, since it loads none of the libraries that a conversion needs."""

import subprocess
import sys

import pytest

from merit_hf.commands.main import COMMANDS

SLOW = ("datasets", "pandas", "pyarrow", "torch", "scipy.signal", "requests", "wfdb")
PROGRAM = f"""
import sys
from merit_hf.commands import run
try:
    run(sys.argv[1], ["--help"])
except SystemExit as end:
    assert not end.code, end.code
print("loaded:", *(name for name in {SLOW} if name in sys.modules))
"""


@pytest.mark.parametrize("name", [name for name in COMMANDS if name.startswith("convert ")])
def test_help_loads_no_slow_library(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, name], capture_output=True, text=True, check=True)
    assert "--output_dir" in done.stdout
    assert done.stdout.splitlines()[-1].split() == ["loaded:"]
