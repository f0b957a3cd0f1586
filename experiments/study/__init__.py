"""A study: its file, its runs on worker processes, and the folders that they write."""
