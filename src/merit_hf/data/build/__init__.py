"""The corpus as a folder: builder, Parquet shards, dataset card, leaks between splits, writing it and opening it."""
