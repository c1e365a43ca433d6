"""Distribution shift: a probe on one corpus, tested there and on another over the labels both have, to JSON.

Launches `merit distribution-shift`, whose --help explains it.
"""

from merit_hf.commands import run

if __name__ == "__main__":
    run("distribution-shift")
