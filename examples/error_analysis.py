"""Where two models differ: by label, age, sex, device, signal quality and number of labels; the worst ECGs on paper.

Launches `merit error-analysis`, whose --help explains it.
"""

from merit_hf.commands import run

if __name__ == "__main__":
    run("error-analysis")
