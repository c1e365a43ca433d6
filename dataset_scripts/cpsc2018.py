"""CPSC2018, as PhysioNet lays it out, to a corpus that `datasets.load_dataset` opens.

    python dataset_scripts/cpsc2018.py --data_dir challenge-2020/1.0.2 --output_dir corpora/cpsc2018

With `--download`, what data_dir does not have yet is fetched from PhysioNet first.
"""

from merit_hf.data.build.conversion import run_conversion
from merit_hf.data.corpora.cpsc2018 import Cpsc2018

if __name__ == "__main__":
    run_conversion(Cpsc2018, __doc__)
