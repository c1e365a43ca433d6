"""Two models on the same records: difference with interval, permutation test and verdict, to JSON and a table.

Launches `merit compare-predictions`, whose --help explains it.
"""

from merit_hf.commands import run

if __name__ == "__main__":
    run("compare-predictions")
