"""MIMIC-IV-ECG, unpacked or as PhysioNet's zip archive, to a corpus that `datasets.load_dataset` opens.

Launches `merit convert mimic-iv-ecg`, whose --help explains it.
"""

from merit_hf.commands import run

if __name__ == "__main__":
    run("convert mimic-iv-ecg")
