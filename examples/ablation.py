"""Ablation of a recipe: masked only, contrastive only and both, trained alike with several seeds, beside untrained.

Launches `merit ablation`, whose --help explains it.
"""

from merit_hf.commands import run

if __name__ == "__main__":
    run("ablation")
