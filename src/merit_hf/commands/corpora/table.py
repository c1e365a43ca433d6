"""Your own records, in a CSV or Parquet table, to a corpus that `datasets.load_dataset` opens.

The signals are in one array, in files that the column `path` names, or in files named like `ecg_id`; or there is no
table at all, and every file below a folder is a record. `skipped.csv` lists each file that was left out, and why:

    merit convert table --records R.csv --signals X.npy --sampling_rate 500 --output_dir corpora/mine
    merit convert table --records R.csv --output_dir corpora/mine
    merit convert table --records R.csv --files ecgs/ --output_dir corpora/mine
    merit convert table --files ecgs/ --output_dir corpora/mine

Integer arrays need `--scale`, the counts per unit; z-scored ones `--units zscore`:

    merit convert table --records ptb-xl-z100/records.csv --signals ptb-xl-z100/signals.npy \\
        --sampling_rate 100 --scale 1000 --units zscore --sex_codes 0=male 1=female --report_language by_words \\
        --task_columns super_class sub_class form rhythm all=scp_codes --output_dir corpora/ptb-xl-z100
"""

from merit_hf.data.corpora.table import TableCorpus

from .convert_command import convert_command

main = convert_command(TableCorpus)
