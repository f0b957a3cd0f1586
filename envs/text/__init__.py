"""Tasks in strings: tokenizers, chat templates, prompts, and environments of strings."""

from __future__ import annotations

from .chat import TEMPLATE_TOKENS, ChatTemplate, Message
from .chat_reading import ChatReader
from .chat_task import ChatTask
from .env import TextEnvMaker, TextEpisode, Told
from .prompts import SPLITS, read_prompts
from .spaces import AnyText, Phrases
from .task import Completion, TextReply, TextTask
from .tokenizers import build_tokenizer
from .writer import TextWriter

__all__ = [
    "AnyText",
    "ChatReader",
    "ChatTask",
    "ChatTemplate",
    "Completion",
    "Message",
    "Phrases",
    "SPLITS",
    "TEMPLATE_TOKENS",
    "TextEnvMaker",
    "TextEpisode",
    "TextReply",
    "TextTask",
    "TextWriter",
    "Told",
    "build_tokenizer",
    "read_prompts",
]
