"""Corpora: one file per corpus, what they share, and how their rows become training batches. Import the submodules."""
