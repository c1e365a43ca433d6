"""Commands that evaluate models, one at a time or many."""
