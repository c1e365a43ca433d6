"""Your own records, in a CSV or Parquet table, to a corpus that `datasets.load_dataset` opens.

Launches `merit convert table`, whose --help explains it.
"""

from merit_hf.commands import run

if __name__ == "__main__":
    run("convert table")
