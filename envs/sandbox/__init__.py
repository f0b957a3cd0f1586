"""Functions called in a process apart, with a time limit and nothing worth breaking."""
