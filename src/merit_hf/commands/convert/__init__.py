"""The commands `merit convert NAME`: one file a corpus, and what they share."""
