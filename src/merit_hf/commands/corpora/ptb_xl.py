"""PTB-XL, as PhysioNet lays it out, to a corpus that `datasets.load_dataset` opens.

    merit convert ptb-xl --data_dir ptb-xl/1.0.3 --output_dir corpora/ptb-xl --num_proc 4

With `--download`, what data_dir does not have yet is fetched from PhysioNet first, about 0.6 GB at 100 Hz.
"""

from merit_hf.data.corpora.ptb_xl import PtbXl

from .convert_command import convert_command

main = convert_command(PtbXl)
