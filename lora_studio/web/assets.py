"""The page's own files and words, in the order in which a host loads them."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def scripts() -> list[Path]:
    """javascript/*.js by name: the core first, the application last."""
    return sorted((ROOT / "javascript").glob("*.js"))


def style() -> Path:
    return ROOT / "style.css"


@lru_cache(maxsize=4)
def words(locale: str) -> dict[str, str]:
    """English text -> text of this language; empty for English. The WebUI reads the same files for its own localization."""
    path = ROOT / "localizations" / f"{locale}.json"
    return json.loads(path.read_text(encoding="utf-8")) if locale.replace("_", "").isalnum() and path.is_file() else {}


def best_locale(wanted: str) -> str:
    """The language we have that fits a name like ``zh-CN``, ``zh-Hans (Stable)`` or ``zh_TW``; English for all others."""
    return "zh_CN" if wanted.lower().startswith(("zh", "cn", "chinese", "简体", "中文")) else "en"
