"""Studies of the zoo: which algorithm reaches what it claims, on which data, at what cost."""
