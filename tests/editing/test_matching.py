"""No filter and no search stops the program: regular expressions are matched elsewhere and given up in time, the rest is quick."""

from __future__ import annotations

import random
import re
import subprocess
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.dataset import parse_tags
from lora_studio.editing import EditOptions, FilterError, Search, Wanted, edit_dataset, matching, normal_form
from lora_studio.editing import filter_tokens as words
from lora_studio.editing.index import DatasetIndex, Picture
from lora_studio.editing.matching import Helpers, Pattern, TooLongError, Wildcards, fold, replaced_plain
from lora_studio.editing.tokens import count_tokens
from lora_studio.errors import UserError
from lora_studio.training.config import TrainingConfig

from .datasets import state, write
from .filters import NASTY, a_filter, an_index

LONG = "a" * 5000


@pytest.fixture
def index(tmp_path: Path) -> DatasetIndex:
    found = DatasetIndex(write(tmp_path, {"a": LONG, "b": "1girl, smile", "a" * 60: "aaaa bbbb " * 40}))
    found.refresh(now=True)
    return found


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long in a test."""
    for module in (matching, __import__("lora_studio.editing.query", fromlist=["query"])):
        monkeypatch.setattr(module, "LIMIT", 0.1)


def test_a_filter_has_less_than_a_second() -> None:
    assert 0 < matching.LIMIT < 1


@pytest.mark.parametrize("text", NASTY)
def test_a_nasty_filter_is_answered(index: DatasetIndex, text: str, quick: None) -> None:
    try:
        assert set(Wanted(text).names(index)) <= set(index.pictures)
    except FilterError as error:
        assert error.message == matching.TOO_LONG and "*" in error.hint and error.data == {"at": 0}


@pytest.mark.parametrize("text", ["/(.|a)+!/", "caption:/.*.*.*.*.*!/", "smile OR name:/(a|a)*!/"])
def test_what_takes_too_long_is_told_with_its_place(index: DatasetIndex, text: str, quick: None) -> None:
    with pytest.raises(FilterError, match="takes too long") as error:
        Wanted(text).names(index)
    assert error.value.data == {"at": text.find("name:") if "name:" in text else 0}
    assert Wanted("/smi/").names(index) == ["b.png"]  # with another process


def answered(count: int, seed: int) -> None:
    rng = random.Random(seed)
    index = an_index(rng)
    for number in range(count):
        if number % 500 == 499:
            index = an_index(rng)
        text = a_filter(rng)
        began = time.thread_time()
        try:
            assert set(Wanted(text).names(index)) <= set(index.pictures), text
        except UserError as error:
            assert error.message and error.hint, text
        assert time.thread_time() - began < 1, text  # of this process; the other has matching.LIMIT


def test_random_filters_are_answered(quick: None) -> None:
    answered(400, 1)


@pytest.mark.slow
def test_ten_thousand_random_filters_are_answered(quick: None) -> None:
    answered(10_000, 2)


def test_others_use_the_captions_while_a_filter_is_matched(index: DatasetIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    from lora_studio.editing import query

    monkeypatch.setattr(query, "LIMIT", 20.0)
    helpers = Helpers()
    monkeypatch.setattr(matching, "_helpers", helpers)
    started = threading.Event()
    children: list[subprocess.Popen[bytes]] = []
    start = matching._start

    def starting() -> subprocess.Popen[bytes]:
        children.append(start())
        started.set()
        return children[-1]

    monkeypatch.setattr(matching, "_start", starting)
    ended: list[BaseException | None] = []

    def nasty() -> None:
        try:
            Wanted("/(.|a)+!/").names(index)
        except UserError as error:
            ended.append(error)

    thread = threading.Thread(target=nasty)
    thread.start()
    assert started.wait(10)
    assert Wanted("smile").names(index) == ["b.png"]
    assert Wanted("/smile/").names(index) == ["b.png"]  # with a second process
    assert not ended

    def no_more() -> subprocess.Popen[bytes]:
        raise UserError("It is over.")

    monkeypatch.setattr(matching, "_start", no_more)
    for child in children:
        child.kill()
    thread.join(10)
    helpers.close()
    assert len(ended) == 1


def test_many_at_once_do_not_hold_every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has forty threads: most of those who ask for too much hear so at once."""
    monkeypatch.setattr(matching, "AT_ONCE", 1)
    monkeypatch.setattr(matching, "WAITING", 1)
    helpers = Helpers()
    held = threading.Event()
    monkeypatch.setattr(helpers, "_answer", lambda line, seconds: held.wait(10) and {"found": []})
    monkeypatch.setattr(matching, "WAIT", 10.0)
    request = {"seconds": 1.0}
    threads = [threading.Thread(target=helpers.ask, args=(request,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    while helpers._queue._value:  # type: ignore[attr-defined]
        time.sleep(0.01)
    with pytest.raises(UserError, match="at once"):
        helpers.ask(request)
    held.set()
    for thread in threads:
        thread.join()
    monkeypatch.setattr(matching, "WAIT", 0.0)
    assert helpers._places.acquire(blocking=False)
    with pytest.raises(UserError, match="at once"):
        helpers.ask(request)


def test_a_process_that_has_ended_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    helpers = Helpers()
    monkeypatch.setattr(matching, "_helpers", helpers)
    assert Pattern("b").matching(["abc", "x"]) == {"abc"}
    helpers._idle[0].kill()
    helpers._idle[0].wait()
    assert Pattern("x").matching(["abc", "x"]) == {"x"}
    helpers.close()
    monkeypatch.setattr(matching.sys, "executable", "/nowhere/python")
    with pytest.raises(UserError, match="No process could be started") as error:
        Pattern("x").matching(["x"])
    assert "plain text" in error.value.hint
    monkeypatch.undo()
    monkeypatch.setattr(matching, "_helpers", helpers)
    monkeypatch.setattr(matching, "CHILD", Path(__file__).with_name("nothing.py"))
    with pytest.raises(UserError, match="without an answer"):
        Pattern("x").matching(["x"])


def test_the_process_ends_with_whoever_started_it() -> None:
    child = matching._start()
    assert child.stdin is not None and child.stdout is not None
    child.stdin.close()
    assert child.wait(10) == 0
    child.stdout.close()


def test_patterns_mean_what_python_s_own_mean() -> None:
    texts = ["long hair", "Long_Hair", "花 花", "saber (fate)", ""]
    for find in (r"(\w)\1", r"(?<=long).hair", r"^(?!long)", r"\bhair$", "(?P<x>花) (?P=x)", "", "É?"):
        assert Pattern(find).matching(texts) == {text for text in texts if re.search(find, text, re.IGNORECASE)}
        assert Pattern(find, match_case=True).matching(texts) == {text for text in texts if re.search(find, text)}
    assert Pattern(r"(l)ong(.)").replaced(texts, r"\1\2<\g<0>>", False, 1.0)["long hair"] == ("l <long >hair", 1)


@pytest.mark.parametrize(
    ("find", "new", "said"),
    [("(", None, "is not a regular"), ("a{99999999999}", None, "is not a regular"), ("(" * 500, None, "is not a regular"),
     ("a", r"\2", "cannot be used"), ("a" * 1001, None, "at most 1000"), ("a", "b" * 1001, "at most 1000")],
)  # fmt: skip
def test_what_is_no_pattern_is_told(find: str, new: str | None, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        Pattern(find).check(new)
    assert error.value.hint


def test_more_text_than_fits_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(matching, "MOST_TEXT", 100)
    with pytest.raises(UserError, match="too long"):
        Pattern("a").matching(["a" * 101])
    monkeypatch.undo()
    with pytest.raises(UserError, match="too much text"):
        Pattern("a?").replaced(["a" * 36_000], "b" * 900, False, 20.0)
    with pytest.raises(UserError, match="too long"):
        Search("a", "a" * 1000, scope="part").function()(("a" * 2000,))
    before = state(write(tmp_path, {"a": "a" * 100}))
    with pytest.raises(UserError, match="too long"):  # ten times as long with each search
        edit_dataset(tmp_path, EditOptions(search=(Search("a", "a" * 10, scope="part"),) * 9))
    assert state(tmp_path) == before
    with pytest.raises(UserError, match="at most"):
        EditOptions(search=(Search("a"),) * 51).check()


def test_a_replacement_that_takes_too_long_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from lora_studio.editing import search

    monkeypatch.setattr(search, "PATIENCE", 0.2)
    before = state(write(tmp_path, {"a": LONG, "b": "smile"}))
    for scope in ("tag", "part", "caption"):
        with pytest.raises(TooLongError):
            edit_dataset(tmp_path, EditOptions(search=(Search("(.|a)+!", "x", scope=scope, regex=True),)))  # type: ignore[arg-type]
    assert state(tmp_path) == before


def test_searches_of_one_edit_build_on_each_other() -> None:
    from lora_studio.editing.edits import count_matches, make_edit

    searches = (Search("(b)lue", "$1lack", "part", True), Search("black hair", "dark hair"), Search("dark (\\w+)", "$1", "tag", True))
    options = EditOptions(search=searches)
    captions = [parse_tags("blue hair, blue eyes"), parse_tags("hat")]
    edit, _ = make_edit(captions, options)
    assert [edit(tags) for tags in captions] == [("hair", "black eyes"), ("hat",)]
    assert edit(("blue hair",)) == ("hair",)  # tags that were not known before
    assert count_matches(captions, options) == 4


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [("a" * 10_001, 10_000, "at most 10000"), ("a " * 201, 0, "at most 200"), ("x *" + "a" * 1000, 2, "at most 1000"),
     ("x /" + "a" * 1001 + "/", 2, "at most 1000")],
)  # fmt: skip
def test_endless_filters_are_refused(index: DatasetIndex, text: str, at: int, said: str) -> None:
    with pytest.raises(FilterError, match=said) as error:
        Wanted(text).names(index)
    assert error.value.data == {"at": at} and words.MOST == 200


def test_a_look_that_takes_too_long_is_given_up(index: DatasetIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    from lora_studio.editing import filter_terms

    monkeypatch.setattr(filter_terms, "LONGEST_LOOK", -1.0)
    with pytest.raises(UserError, match="too long"):
        Wanted("caption:?a?b").names(index)


def test_a_caption_that_changes_meanwhile_is_matched_too(index: DatasetIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    matched = Pattern.matching

    def changing(self: Pattern, texts: list[str], seconds: float) -> set[str]:
        if texts:
            monkeypatch.undo()
            index._put(Picture("new.png", "new.txt", b"", ("big smile",), ("big_smile",)))
        return matched(self, texts, seconds)

    monkeypatch.setattr(Pattern, "matching", changing)
    assert Wanted("/smile/").names(index) == ["b.png", "new.png"]


@given(st.text("ab*?\\é", max_size=12), st.text("abAÉé*?\\", max_size=12))
def test_wildcards_fit_what_a_regular_expression_fits(pattern: str, text: str) -> None:
    parts = re.split(r"(?<!\\)([*?])", pattern)
    source = "".join({"*": ".*", "?": "."}.get(part) or re.escape(matching.unescaped(part)) for part in parts)
    assert Wildcards(pattern).fits(text) == (re.fullmatch(source, text, re.IGNORECASE | re.DOTALL) is not None)


def test_wildcards_grow_with_the_text_alone() -> None:
    began = time.thread_time()
    assert not Wildcards("*a" * 400 + "!").fits("a" * 200_000)
    assert not Wildcards("*a?" * 300 + "!").fits("a" * 200_000)
    assert Wildcards("*a" * 400 + "*").fits("b" * 100 + "a" * 200_000)
    assert time.thread_time() - began < 1


@given(st.text("abABéÉσςΣſsßẞİi ", max_size=20), st.text("abABéÉσςΣſßẞ", min_size=1, max_size=3), st.booleans())
def test_plain_text_is_replaced_as_ever(text: str, find: str, match_case: bool) -> None:
    pattern = re.compile(re.escape(find), 0 if match_case else re.IGNORECASE)
    assert replaced_plain(text, find, "<>", match_case) == pattern.subn("<>", text)
    assert len(fold(text)) == len(text)


def test_plain_text_is_replaced_in_time_that_grows_with_the_text() -> None:
    began = time.thread_time()
    for match_case in (False, True):
        assert replaced_plain("a" * 1_000_000, "a" * 5000 + "b", "x", match_case)[1] == 0
    assert time.thread_time() - began < 1


def test_absurd_tags_take_no_time() -> None:
    began = time.thread_time()
    for tag in ("a" * 100_000, "(" * 50_000, "-" * 100_000, "é" * 50_000):
        assert count_tokens(tag) > 100
    assert normal_form("(" * 20_000 + "x" + ")" * 20_000)
    assert normal_form("((smile:1.2))") == "smile" and count_tokens("a" * 90) == count_tokens("a" * 90)
    assert time.thread_time() - began < 3


def test_what_else_people_send_takes_no_time() -> None:
    """Our own regular expressions: none goes over a text again for each of its characters."""
    from lora_studio.evaluation.usage import without_loras
    from lora_studio.training.config import mistakes

    began = time.thread_time()
    assert without_loras("<lora:" * 50_000) == "<lora:" * 50_000 and without_loras("a, <lora:x:1> b") == "a, b"
    assert mistakes({"resolution": "512" + " " * 100_000 + "y"}) and not mistakes({"resolution": " 512 x 768 "})
    config = {"base": "b", "folders": ["f"], "output_name": "n", "output_dir": "o"}
    for text, fits in (("cosine+" + "1" * 50_000 + "x", False), ("cosine+.25", True), ("sine+1", True), ("linear+0.5", True), ("zeros", True)):
        try:
            TrainingConfig.from_dict({**config, "down_lr_weight": text})
            assert fits, text
        except UserError:
            assert not fits, text[:20]
    assert time.thread_time() - began < 2
