"""Numbers as tokens: quantisers, spaces as digits, simulated bodies."""
