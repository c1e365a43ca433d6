"""Many models on many corpora: the runs, the report, the numbers that others published."""
