"""One file a corpus: where its records, reports and labels come from."""
