"""Fine-tune a pretrained ECG encoder on a task of a corpus, in one process or several, and evaluate the result.

Launches `merit finetune`, whose --help explains it.
"""

from merit_hf.commands import run

if __name__ == "__main__":
    run("finetune")
