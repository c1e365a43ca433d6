"""Pretrain MERIT on a corpus of ECGs and reports, in one process or several.

Launches `merit pretrain`, whose --help explains it.
"""

from merit_hf.commands import run

if __name__ == "__main__":
    run("pretrain")
