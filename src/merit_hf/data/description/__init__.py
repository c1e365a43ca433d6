"""What a corpus contains: counted, and written as text."""
