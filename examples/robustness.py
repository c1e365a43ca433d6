"""Robustness curves of a model, zero-shot or by a probe trained on clean data: fewer leads, lower rate, noise, swaps.

Launches `merit robustness`, whose --help explains it.
"""

from merit_hf.commands import run

if __name__ == "__main__":
    run("robustness")
