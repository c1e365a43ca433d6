"""Commands for one's own files: what a person wants first."""
