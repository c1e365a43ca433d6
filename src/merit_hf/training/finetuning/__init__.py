"""Fine-tuning a classifier on a task of a corpus."""
