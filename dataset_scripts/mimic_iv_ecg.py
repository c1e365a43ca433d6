"""MIMIC-IV-ECG, unpacked or as PhysioNet's zip archive, to a corpus that `datasets.load_dataset` opens.

    python dataset_scripts/mimic_iv_ecg.py --data_dir mimic-iv-ecg.zip --output_dir corpora/mimic-iv-ecg --num_proc 8

A conversion that was stopped goes on where it was: give the same command again. With `--download --accept_size`, the
archive is fetched from PhysioNet first, 33 GB.
"""

from merit_hf.data.build.conversion import run_conversion
from merit_hf.data.corpora.mimic_iv_ecg import MimicIvEcg

if __name__ == "__main__":
    run_conversion(MimicIvEcg, __doc__)
