"""CSN (Chapman-Shaoxing-Ningbo), as PhysioNet lays it out, to a corpus that `datasets.load_dataset` opens.

Launches `merit convert csn`, whose --help explains it.
"""

from merit_hf.commands import run

if __name__ == "__main__":
    run("convert csn")
