"""English and Simplified Chinese are complete: every text that people read is translated, nothing is left over, and it is written as Chinese is."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lora_studio.editing.vocabulary import TABLE
from lora_studio.wording import filled

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def collect() -> ModuleType:
    """localizations/collect.py, which a person runs to see what is missing."""
    spec = importlib.util.spec_from_file_location("lora_studio_collect", ROOT / "localizations" / "collect.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def words(collect: ModuleType) -> dict[str, str]:
    found: dict[str, str] = collect.load()
    return found


def test_every_text_is_translated(collect: ModuleType, words: dict[str, str]) -> None:
    assert collect.missing(words) == {}


def test_every_text_of_the_page_goes_through_its_words(collect: ModuleType) -> None:
    assert collect.bypassing() == {}


def test_no_translation_is_left_over(collect: ModuleType, words: dict[str, str]) -> None:
    assert collect.unused(words) == []
    assert set(collect.FOUND_NOWHERE) <= set(words)


def test_translations_are_well_written(collect: ModuleType, words: dict[str, str]) -> None:
    assert {key: found for key, text in words.items() if (found := collect.mistakes(key, text))} == {}


def test_the_file_is_as_the_webui_reads_it() -> None:
    """A flat object of texts, sorted and without doubles, so that two people's changes to it can be merged."""
    text = (ROOT / "localizations" / "zh_CN.json").read_text(encoding="utf-8")
    pairs = json.loads(text, object_pairs_hook=list)
    assert all(isinstance(key, str) and isinstance(value, str) and key and value.strip() for key, value in pairs)
    assert [key for key, _ in pairs] == sorted({key for key, _ in pairs})
    assert text == json.dumps(dict(pairs), ensure_ascii=False, indent=1) + "\n"


@pytest.mark.parametrize(
    ("key", "text", "mistake"),
    [
        ("{n} pictures.", "{m} 张图片。", "the values in braces differ"), ("{} of {}", "{1} 的", "the values in braces differ"),
        ("{} of {}", "{1} 的 {0}", ""), ("{} of {} of {}", "{2} 的 {1} 的 {}", ""), ("Close it", "Close it", "it is not translated"),
        ("Wait, please.", "请,稍候。", "a half-width sign beside Chinese"),
        ("Wait.", "请稍候.", "a sentence ends with . instead of 。"), ("Wait.", "请稍候", "the English ends with a full stop, the Chinese does not"),
        ("Wait", "请稍候。", "the Chinese ends with a full stop, the English does not"), ("Wait", "请 稍候", "a space between Chinese characters"),
        ("Press A", "按Ａ", "full-width letters or digits"), ("Press \u201cA\u201d", "按\u201cA", "quotation marks or brackets are not closed"),
        ("Wait…", "请稍候…", ""), ("512 × 512 (SD 1.5)", "512 × 512（SD 1.5）", ""), ("Which?", "哪个？", ""),
    ],
)  # fmt: skip
def test_mistakes_are_found(collect: ModuleType, key: str, text: str, mistake: str) -> None:
    found = collect.mistakes(key, text)
    assert mistake in found if mistake else found == []


@pytest.mark.parametrize(
    ("code", "texts"),
    [
        ('raise UserError("The disk is full.", hint="Free some space.")', {"The disk is full.", "Free some space."}),
        ('raise UserError(f"{n} picture{\'s\' if n != 1 else \'\'} of {name}.")', {"{} picture of {}.", "{} pictures of {}."}),
        ('raise Later("Wait " + name + ".")', {"Wait {}."}),
        (
            'def f(x):\n  kind = "too dark" if x else "too small"\n  raise UserError(f"It is {kind}.")',
            {"It is too dark.", "It is too small."},
        ),
        ('warnings.append(f"{n} are left out.")\nprogress(1, 2, "Reading")\nnames.append("A name of ours")', {"{} are left out.", "Reading"}),
        ('x = {"note": ["{n} pictures", {"n": 1}], "path": "Some where"}', {"{n} pictures"}),
        (
            'UNSUPPORTED = {"a b": ((), "Not here."), **dict.fromkeys(("c d",), ((0,), "Not now."))}\n'
            'out.unneeded.append((f"Key {k}", "Nor there."))',
            {"Not here.", "Not now.", "Nor there."},
        ),
        ('print("Said to a console.")\nlog(f"x {y}")\ndef f():\n  """Docs of it."""', set()),
    ],
)
def test_texts_are_found_in_python(collect: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, texts: set[str]) -> None:
    (tmp_path / "a.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr(collect, "ROOT", tmp_path)
    assert {one.text for one in collect.Python(tmp_path / "a.py", {}, {"UserError", "Later"}).said()} == texts


def test_texts_are_found_in_javascript(collect: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.js").write_text(
        r"""// t("not this")
        const a = t("One {n}", {n: "No words"}), b = t(state === "open" ? "Open" : "shut"), c = /t\("nor this"\)/;
        h("div.ls-x", {title: "Its title", "aria-label": t("Two")}, "Left as it is", name, t("It's \u201cthree\u201d"));
        const TABLE = [["one", "For a table"]];""",
        encoding="utf-8",
    )
    monkeypatch.setattr(collect, "ROOT", tmp_path)
    found = list(collect.literals(tmp_path / "a.js"))
    assert [one.text for one in found if one.translated] == ["One {n}", "Open", "shut", "Two", "It's \u201cthree\u201d"]
    assert [one.text for one in found if one.shown and collect.prose(one.text)] == ["Its title", "Left as it is"]
    assert collect.prose("For a table") and "For a table" in [one.text for one in found]
    assert not any("this" in one.text for one in found)


KNOWN = {
    "There is no project {}.": "没有项目 {}。", "Make it first.": "请先新建。", "The edit cannot be done: {}.": "无法执行：{}。",
    "{} is not one tag": "{} 不是单个标签",
    "is empty": "为空", ": ": "：", "; ": "；", "{} has no {}": "{1} 不在 {0} 中", "{}: {} could not be read": "{}：无法读取 {}",
}  # fmt: skip
SERVER_TEXTS = {
    "There is no project <b> $1 {}.": "没有项目 <b> $1 {}。",
    "There is no project a. Make it first.": "没有项目 a。请先新建。",
    "The edit cannot be done: a is not one tag; b is not one tag.": "无法执行：a 不是单个标签；b 不是单个标签。",
    "output_name: is empty": "output_name：为空",
    "a has no c": "c 不在 a 中",
    "Something else.": "Something else.",
    "constructor": "constructor",
    "": "",
}


def test_the_page_translates_what_the_server_says(collect: ModuleType, tmp_path: Path) -> None:
    """ts() of the core and its model in collect.py agree, whatever stands in the values."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    core = (ROOT / "javascript" / "lora_studio_0_core.js").read_text(encoding="utf-8")
    script = tmp_path / "say.js"
    script.write_text(
        "globalThis.window = globalThis; globalThis.EventTarget = globalThis.EventTarget || class {};\n" + core
        + f"\nLoraStudio.setWords('zh_CN', {json.dumps(KNOWN)});\nconsole.log(JSON.stringify({json.dumps(list(SERVER_TEXTS))}.map(LoraStudio.ts)));",
        encoding="utf-8",
    )
    said: list[Any] = json.loads(subprocess.run([node, str(script)], capture_output=True, check=True, encoding="utf-8", timeout=60).stdout)
    assert dict(zip(SERVER_TEXTS, said)) == SERVER_TEXTS
    known = collect.Words(KNOWN)
    assert [known.know(text) for text in list(SERVER_TEXTS)[1:]] == [True, True, True, True, False, False, False]


COUNTED = [
    ("{n} {picture is|pictures are} few", {"n": 1}, "1 picture is few"),
    ("{n} {picture is|pictures are} few", {"n": 21}, "21 pictures are few"),
    ("{n} of {all} {caption changes|captions change}.", {"n": 1, "all": 2}, "1 of 2 captions change."),
    ("{name} copied, {n} {tag|tags}, {share} %", {"name": "1.png", "n": 0, "share": 1}, "1.png copied, 0 tags, 1 %"),
]


def test_one_is_said_as_one(tmp_path: Path) -> None:
    """filled() and t() of the page agree: a word in two forms follows the number before it."""
    assert [filled(text, values) for text, values, _ in COUNTED] == [said for *_, said in COUNTED]
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    core = (ROOT / "javascript" / "lora_studio_0_core.js").read_text(encoding="utf-8")
    script = tmp_path / "count.js"
    script.write_text(
        "globalThis.window = globalThis; globalThis.EventTarget = globalThis.EventTarget || class {};\n" + core
        + f"\nconsole.log(JSON.stringify({json.dumps(COUNTED)}.map(([text, values]) => LoraStudio.t(text, values))));",
        encoding="utf-8",
    )
    answer = subprocess.run([node, str(script)], capture_output=True, check=True, encoding="utf-8", timeout=60).stdout
    assert json.loads(answer) == [said for *_, said in COUNTED]


def test_every_group_of_traits_has_a_name_that_reads_well(collect: ModuleType) -> None:
    source = (ROOT / "javascript" / "lora_studio_4f_edittraits.js").read_text(encoding="utf-8")
    assert all(f"{group.name}: \"" in source for group in TABLE)


def test_what_is_missing_is_printed_to_be_filled_in(collect: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(collect, "load", lambda locale="zh_CN": {"Some text nobody says any more": "…"})
    monkeypatch.setattr(collect, "said", lambda: {"Close": "javascript/a.js:1", "Wait. It takes long.": "lora_studio/a.py:2"})
    monkeypatch.setattr(sys, "argv", ["collect.py", "--missing"])
    assert collect.main() == 1
    assert json.loads(capsys.readouterr().out) == {"Close": "", "It takes long.": "", "Wait.": ""}
