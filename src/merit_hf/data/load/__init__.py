"""From a corpus to training batches: datasets, streams, order, augmentation, collator."""
