"""Simulated 12-lead ECGs with findings, reports and true measurements, to a corpus that `datasets.load_dataset` opens.

    merit convert synthetic --num_records 2000 --output_dir corpora/synthetic
    merit convert synthetic --num_records 500 --noise 3 --lead_names I II V2 --prevalence.AFIB 0.3 \\
        --output_dir corpora/synthetic-shifted
"""

from merit_hf.simulation.corpus import SyntheticCorpus

from .convert_command import convert_command

main = convert_command(SyntheticCorpus)
