"""Tasks in strings: tokenizers, chat templates, prompts, and environments of strings."""
