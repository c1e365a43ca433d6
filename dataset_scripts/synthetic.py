"""Simulated 12-lead ECGs with findings, reports and true measurements, to a corpus that `datasets.load_dataset` opens.

Launches `merit convert synthetic`, whose --help explains it.
"""

from merit_hf.commands import run

if __name__ == "__main__":
    run("convert synthetic")
