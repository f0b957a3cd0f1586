"""Texts to be written: brackets, palindromes, keywords, reviews, and any prompts with any reward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy_names

if TYPE_CHECKING:
    from .brackets import Dyck
    from .keywords import KeywordCover
    from .palindrome import Palindrome
    from .sentiment import Sentiment
    from .text_generation import TextGeneration
    from .text_gym import TextGym

__all__ = [
    "Dyck",
    "KeywordCover",
    "Palindrome",
    "Sentiment",
    "TextGeneration",
    "TextGym",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Dyck": "brackets",
        "KeywordCover": "keywords",
        "Palindrome": "palindrome",
        "Sentiment": "sentiment",
        "TextGeneration": "text_generation",
        "TextGym": "text_gym",
    },
)
