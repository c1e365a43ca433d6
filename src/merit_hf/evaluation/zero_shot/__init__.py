"""Classification from prompts alone: the protocol and the prompts."""
