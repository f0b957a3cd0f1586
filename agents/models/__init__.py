"""Causal models: transformers, GRU, MLP and table, and how each decodes with a cache."""
