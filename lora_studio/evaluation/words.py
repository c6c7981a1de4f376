"""A sentence in both languages; the page shows the reader's."""

from __future__ import annotations

from html import escape


def both(words: tuple[str, str]) -> str:
    """Escaped HTML holding (English, Chinese); the style sheet hides the one that is not the page's language."""
    english, chinese = words
    return f'<span lang="en">{escape(english)}</span><span lang="zh">{escape(chinese)}</span>'
