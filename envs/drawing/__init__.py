"""Pictures of positions, for terminals and as pixels."""
