"""Simulated 12-lead ECGs with findings, reports and true measurements, to a corpus that `datasets.load_dataset` opens.

    python dataset_scripts/synthetic.py --num_records 2000 --output_dir corpora/synthetic
    python dataset_scripts/synthetic.py --num_records 500 --noise 3 --lead_names I II V2 --prevalence.AFIB 0.3 \\
        --output_dir corpora/synthetic-shifted
"""

from merit_hf.data.build.conversion import run_conversion
from merit_hf.simulation.corpus import SyntheticCorpus

if __name__ == "__main__":
    run_conversion(SyntheticCorpus, __doc__)
