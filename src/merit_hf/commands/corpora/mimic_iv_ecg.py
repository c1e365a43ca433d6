"""MIMIC-IV-ECG, unpacked or as PhysioNet's zip archive, to a corpus that `datasets.load_dataset` opens.

    merit convert mimic-iv-ecg --data_dir mimic-iv-ecg.zip --output_dir corpora/mimic-iv-ecg --num_proc 8

A conversion that was stopped resumes when you give the same command again. With `--download --accept_size`, the
archive is fetched from PhysioNet first, 33 GB.
"""

from merit_hf.data.corpora.mimic_iv_ecg import MimicIvEcg

from .convert_command import convert_command

main = convert_command(MimicIvEcg)
