"""Getting raw corpora: downloads over HTTP, PhysioNet projects, files inside a zip archive."""
