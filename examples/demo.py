"""MERIT in one go: simulate ECGs with reports, pretrain, and name findings in patients never seen, without labels.

Launches `merit demo`, whose --help explains it.
"""

from merit_hf.commands import run

if __name__ == "__main__":
    run("demo")
