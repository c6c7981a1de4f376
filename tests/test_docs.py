"""The guides tell the truth: every command can be typed so, every button and message quoted is one that people see, every link leads somewhere."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from lora_studio.cli import build_parser

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("README*.md"), *(ROOT / "docs").glob("*.md")])
GUIDES = [ROOT / "docs" / "guide.md", ROOT / "docs" / "guide.zh.md"]
#: of launch.py itself
OWN = ("test", "setup")


def commands(page: Path) -> list[list[str]]:
    """What stands behind ``python launch.py`` in code, in words."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^python launch\.py(.*)$", text, re.MULTILINE) + re.findall(r"`python launch\.py ([^`]+)`", text)
    return [shlex.split(line.split("#")[0].replace("…", "x")) for line in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_can_be_typed_so(page: Path) -> None:
    parser = build_parser()
    for words in commands(page):
        if words and words[0] not in OWN and "COMMAND" not in words and words[-1] != "--help":
            parser.parse_args(words)


def normal(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@pytest.fixture(scope="module")
def seen() -> str:
    """Everything the program may say: sources and translations, with texts that are split over lines joined."""
    files = [*(ROOT / "lora_studio").rglob("*.py"), *(ROOT / "javascript").glob("*.js")]
    text = "\n".join(re.sub(r'"\s*\n\s*f?"', "", p.read_text(encoding="utf-8")) for p in files)
    zh = json.loads((ROOT / "localizations" / "zh_CN.json").read_text(encoding="utf-8"))
    return normal(text + "\n".join(zh.values()))


@pytest.mark.parametrize("page", GUIDES, ids=lambda p: p.name)
def test_messages_and_buttons_are_those_that_people_see(page: Path, seen: str) -> None:
    text = page.read_text(encoding="utf-8")
    table = text[text.rindex("|---|---|") :]
    messages = [m for row in table.splitlines() if row.startswith("| `") for m in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(messages) >= 14
    labels = re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", text)
    assert len(labels) >= 12
    emphasis = {"earliest", "最早"}
    missing = [m for m in [*messages, *labels] if m not in emphasis and normal(m) not in seen]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    headings = {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif "://" not in target:
            assert (page.parent / target.split("#")[0]).exists(), target


def test_both_guides_have_the_same_parts() -> None:
    shapes = [re.findall(r"^(#+) ", p.read_text(encoding="utf-8"), re.MULTILINE) for p in GUIDES]
    assert shapes[0] == shapes[1]
    assert commands(GUIDES[0]) == commands(GUIDES[1])
