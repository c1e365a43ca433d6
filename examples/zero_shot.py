"""Zero-shot classification of a corpus by a pretrained model, beside untrained models, to JSON and a table.

Launches `merit zero-shot`, whose --help explains it.
"""

from merit_hf.commands import run

if __name__ == "__main__":
    run("zero-shot")
