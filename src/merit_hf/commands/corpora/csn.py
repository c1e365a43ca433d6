"""CSN (Chapman-Shaoxing-Ningbo), as PhysioNet lays it out, to a corpus that `datasets.load_dataset` opens.

    merit convert csn --data_dir ecg-arrhythmia/1.0.0 --output_dir corpora/csn --num_proc 4

With `--download`, what data_dir does not have yet is fetched from PhysioNet first, about 5.5 GB.
"""

from merit_hf.data.corpora.csn import Csn

from .convert_command import convert_command

main = convert_command(Csn)
