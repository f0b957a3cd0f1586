"""What an engine's rows are made of, and other ways to move them than a token for all."""
