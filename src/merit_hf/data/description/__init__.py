"""What a corpus holds: counted, and told as text."""
