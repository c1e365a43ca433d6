"""Commands that make and describe corpora: one file each, and what every conversion shares."""
