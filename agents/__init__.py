"""What acts: models, heads, cached decoding and players."""
