"""CPSC2018, as PhysioNet lays it out, to a corpus that `datasets.load_dataset` opens.

    merit convert cpsc2018 --data_dir challenge-2020/1.0.2 --output_dir corpora/cpsc2018

With `--download`, what data_dir does not have yet is fetched from PhysioNet first.
"""

from merit_hf.data.corpora.cpsc2018 import Cpsc2018

from .convert_command import convert_command

main = convert_command(Cpsc2018)
