"""What learns: one file an algorithm, and the few parts that they share."""
