"""The progress bar in terminals that tell their width, and in those that state none."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

CODE = """
from merit_hf.progress_bar import progress_bar
with progress_bar(total=2, unit="step", mininterval=0) as bar:
    bar.update(2)
"""


def shown_in_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a terminal that states this width is sent."""
    monkeypatch.delenv("COLUMNS", raising=False)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if columns else 0, columns, 0, 0))
    subprocess.run([sys.executable, "-c", CODE], stderr=theirs, check=True)
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 4096):
            text += part
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    return text.decode()


@pytest.mark.parametrize(("columns", "width"), [(0, 80), (60, 60)])
def test_bar_is_visible_whatever_width_the_terminal_states(columns, width, monkeypatch):
    last = shown_in_terminal(columns, monkeypatch).rstrip("\r\n").rpartition("\r")[2]
    assert "100%" in last
    assert "2/2" in last
    assert width - 2 <= len(last) <= width


def test_bar_is_visible_with_columns_0():
    done = subprocess.run(
        [sys.executable, "-c", CODE], env={**os.environ, "COLUMNS": "0"}, capture_output=True, text=True, check=True
    )
    assert "2/2" in done.stderr
