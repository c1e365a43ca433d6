"""Structure probe: how much of the intervals, axes, ST levels and amplitudes frozen features of encoders hold.

Launches `merit structure-probe`, whose --help explains it.
"""

from merit_hf.commands import run

if __name__ == "__main__":
    run("structure-probe")
