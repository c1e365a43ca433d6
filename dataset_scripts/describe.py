"""What is in a corpus: labels, reports, signals, persons and leaks, as a short table, a JSON file and a page of plots.

Launches `merit describe`, whose --help explains it.
"""

from merit_hf.commands import run

if __name__ == "__main__":
    run("describe")
