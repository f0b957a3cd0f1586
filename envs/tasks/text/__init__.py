"""Texts to be written: brackets, palindromes, keywords, reviews, and any prompts with any reward."""
