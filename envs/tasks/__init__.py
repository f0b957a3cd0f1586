"""The tasks of the suite, one module a family."""
