"""What people read on the page, collected from the source, beside what is translated.

    python localizations/collect.py             what zh_CN.json lacks, has too much or has wrong, and where each text is said
    python localizations/collect.py --missing   the missing texts as JSON, to fill in

English is the key. A text of the server with values in it is a template: ``{}`` for each value. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PACKAGE = ROOT / "lora_studio"

# -- Python: what the server says -----------------------------------------------------------------------------------------------------------------

#: These speak to a console, never to the page.
CONSOLE = ("cli/", "doctor.py", "parent.py", "torch_builds.py", "__main__.py", "demo/")
#: A call of one of these names says its third argument: a Progress.
TELLING = ("progress", "tell", "told", "say")
#: What is said under these names (an argument, a key of a dictionary, a variable, an attribute) is shown.
SPOKEN = ("message", "hint", "error", "reason", "note", "problem", "warning", "why", "text", "label", "title", "help", "about", "mistake", "words")
#: Lists of what is shown.
LISTS = ("warnings", "problems", "mistakes", "notes", "wrong", "missing", "reasons", "skipped", "said")
#: Rows and tables of (what, why): the last is shown in two languages.
REASONS = ("unsupported", "unneeded", "reasons")
EXCEPTIONS = ("ValueError", "HTTPException", "JobError")
MOST = 24  # alternatives of one expression

Scope = dict[str, list[ast.expr]]


@dataclass(frozen=True)
class Said:
    """A text and where it is said."""

    text: str
    place: str


class Python:
    """The texts of one module. ``constants``: of all modules, by name; ``errors``: the classes people see."""

    def __init__(self, path: Path, constants: Scope, errors: set[str]) -> None:
        self.path, self.constants, self.errors = path, constants, errors
        self.tree = ast.parse(path.read_text(encoding="utf-8"))

    def said(self) -> Iterator[Said]:
        for scope, node in self._nodes():
            for expression in self._spoken(node):
                for text in templates(expression, scope):
                    if speaks(text):
                        yield Said(text, f"{self.path.relative_to(ROOT).as_posix()}:{expression.lineno}")

    def everything(self) -> Iterator[str]:
        """Every text at all, spoken or not."""
        for scope, node in self._nodes():
            if isinstance(node, ast.expr):
                yield from templates(node, scope)

    def _nodes(self) -> Iterator[tuple[Scope, ast.AST]]:
        def walk(node: ast.AST, scope: Scope) -> Iterator[tuple[Scope, ast.AST]]:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                scope = {**scope, **assigned(node)}
            yield scope, node
            for child in ast.iter_child_nodes(node):
                yield from walk(child, scope)

        return walk(self.tree, self.constants)

    def _spoken(self, node: ast.AST) -> Iterator[ast.expr]:
        """The expressions of a node that people read."""
        if isinstance(node, ast.Call):
            name = called(node.func)
            if name in self.errors:
                yield from node.args
                yield from (k.value for k in node.keywords)
            elif name in EXCEPTIONS or name in TELLING or name.endswith("progress"):
                yield from node.args[-1:]
            elif name in ("append", "extend", "insert") and isinstance(node.func, ast.Attribute) and called(node.func.value) in LISTS:
                yield from texts_in(node.args[-1:])
            elif name == "append" and isinstance(node.func, ast.Attribute) and called(node.func.value) in REASONS:
                yield from reasons_in(node.args[-1])
            yield from (k.value for k in node.keywords if k.arg in SPOKEN)
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                name = called(target).strip("_").lower()
                if name in LISTS or name in SPOKEN:
                    yield from texts_in([node.value])
                if name in REASONS:
                    yield from reasons_in(node.value)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values):
                if isinstance(key, ast.Constant) and key.value in (*SPOKEN, *LISTS, "next"):
                    yield from texts_in([value])
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.strip("_").lower() in (*SPOKEN, *LISTS):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return) and inner.value is not None:
                    yield from texts_in([inner.value])


def texts_in(expressions: Iterable[ast.expr]) -> Iterator[ast.expr]:
    """The expressions themselves, of lists and tuples their elements."""
    for one in expressions:
        if isinstance(one, (ast.List, ast.Tuple, ast.Set)):
            yield from texts_in(one.elts)
        elif isinstance(one, (ast.ListComp, ast.GeneratorExp)):
            yield from texts_in([one.elt])
        elif isinstance(one, ast.Starred):
            yield from texts_in([one.value])
        else:
            yield one


def reasons_in(node: ast.expr) -> Iterator[ast.expr]:
    """Why, in a row or a table of them."""
    if isinstance(node, ast.Dict):
        for value in node.values:
            yield from reasons_in(value)
    elif isinstance(node, ast.Call):
        if called(node.func) == "fromkeys":
            yield from reasons_in(node.args[-1])
    else:
        yield node.elts[-1] if isinstance(node, ast.Tuple) else node


def called(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return "super" if isinstance(node.value, ast.Call) and called(node.value.func) == "super" else node.attr
    return node.id if isinstance(node, ast.Name) else ""


def named(node: ast.Assign) -> Iterator[tuple[str, ast.expr]]:
    """name = value, or both of name, other = value, another."""
    for target in node.targets:
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            yield from ((called(one), value) for one, value in zip(target.elts, node.value.elts) if isinstance(one, ast.Name))
        elif isinstance(target, ast.Name):
            yield target.id, node.value


def assigned(function: ast.AST) -> Scope:
    """The names a function gives to texts, each with all it may be. What is put together step by step is not known."""
    found: Scope = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for name, value in named(node):
                found.setdefault(name, []).append(value)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = []
        elif isinstance(node, ast.arg):
            found.setdefault(node.arg, [])
    return found


def templates(node: ast.expr, scope: Scope, depth: int = 0) -> list[str]:
    """What an expression may say, ``{}`` where only the running program knows."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else ["{}"]
    if isinstance(node, ast.JoinedStr):
        parts = [[str(p.value)] if isinstance(p, ast.Constant) else inserted(p, scope, depth) for p in node.values]
        return product(parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return product([templates(node.left, scope, depth), templates(node.right, scope, depth)])
    if isinstance(node, ast.IfExp):
        return templates(node.body, scope, depth) + templates(node.orelse, scope, depth)
    if isinstance(node, ast.BoolOp):
        return [text for value in node.values for text in templates(value, scope, depth)]
    if isinstance(node, ast.Name) and depth < 4 and scope.get(node.id):
        return [text for value in scope[node.id] for text in templates(value, scope, depth + 1)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return [re.sub(r"{\w*}", "{}", text) for text in templates(node.func.value, scope, depth)]
    return ["{}"]


def inserted(part: ast.expr, scope: Scope, depth: int) -> list[str]:
    """What stands in the braces of an f-string: a value, or one of a few words of ours."""
    value = part.value if isinstance(part, ast.FormattedValue) else part
    if isinstance(value, (ast.IfExp, ast.Name)) and not (isinstance(part, ast.FormattedValue) and part.format_spec):
        found = templates(value, scope, depth + 1)
        if isinstance(value, ast.IfExp) and all("{}" not in text for text in found):
            return found  # "picture" or "pictures"
        return [text for text in found if speaks(text)] + (["{}"] if any(text and not speaks(text) for text in found) else [])
    return ["{}"]


def product(parts: list[list[str]]) -> list[str]:
    found = ["".join(p) for p in itertools.islice(itertools.product(*(dict.fromkeys(p) for p in parts)), MOST)]
    return [re.sub(r"(\{\}){2,}", "{}", text) for text in found]


def speaks(text: str) -> bool:
    """Whether a text has a word in it: more than a name or a sign of our own."""
    return bool(re.search(r"[A-Za-z]{2,}", text.replace("{}", " "))) and (" " in text.strip() or text[:1].isupper() or text.endswith("."))


def modules() -> list[Path]:
    return [p for p in sorted(PACKAGE.rglob("*.py")) if not p.relative_to(PACKAGE).as_posix().startswith(CONSOLE) and p.name not in CONSOLE]


def python_modules() -> list[Python]:
    constants: Scope = {}
    bases: dict[str, set[str]] = {}
    for path in modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                constants.setdefault(node.targets[0].id, []).append(node.value)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = {called(b) for b in node.bases}
    errors = {"UserError"}
    while more := {name for name, of in bases.items() if of & errors} - errors:
        errors |= more
    return [Python(path, constants, errors | {"super"}) for path in modules()]


# -- JavaScript: what the page says itself --------------------------------------------------------------------------------------------------------

TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`)
    |(?P<regex>(?<=[=(,:!&|?;{}\[])\s*/(?![/*])(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[a-z]*)
    |(?P<name>[A-Za-z_$][\w$]*)
    |(?P<other>\S)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Literal(Said):
    """A text in the JavaScript. ``translated``: it stands in t(…) or ts(…); ``shown``: it goes into an element as it is."""

    translated: bool
    shown: bool


#: Calls that put texts into elements, and the properties that people see.
ELEMENTS = ("h", "button", "field", "append", "fill", "toast", "select")
SEEN = ("title", "placeholder", "alt", "textContent", "hint", "aria-label")
#: Not words: names of keys, of formats and products, headers, selectors, a directive.
NOT_WORDS = re.compile(
    r"""use\ strict|Content-Type|application/.*|(Arrow|Page)[A-Z]\w+|Escape|Enter|Tab|Delete|Backspace|Home|End|Space|Shift|Control|Ctrl|Meta|Alt
    |[#.\[:].*|[a-z]+[.#\[>:].*|((input|select|textarea|button|label|a)(,\ )?)+|X-Lora-Studio|[A-Z][a-z]*[A-Z]+\w*|[A-Z]{2,}\w*|HTTP\ |LoRA""",
    re.VERBOSE,
)


def prose(text: str) -> bool:
    """Whether a literal reads like words for people: several of them, or one with a capital letter."""
    return bool(re.search(r"\b[A-Za-z]+[,;:]? [A-Za-z(]{2,}|^[A-Z][a-z]+", text)) and not NOT_WORDS.fullmatch(text)


def literals(path: Path) -> Iterator[Literal]:
    source = path.read_text(encoding="utf-8")
    before = ["", "", ""]
    open_: list[tuple[str, bool]] = [("", False)]  # the brackets around: the name before each, and whether t(…) translates what is in it
    for match in TOKEN.finditer(source):
        kind, token = match.lastgroup, match[0].strip()
        if kind == "comment":
            continue
        if kind == "string" and not token.startswith("`"):
            name, translated = open_[-1]
            around = open_[-2][0] if len(open_) > 1 else ""
            first = before[-1] == "("
            shown = (name in ELEMENTS and not first) or (name == "{" and around in ELEMENTS and before[-1] == ":" and before[-2].strip("\"'") in SEEN)
            place = f"{path.relative_to(ROOT).as_posix()}:{source.count(chr(10), 0, match.start()) + 1}"
            compared = before[-1] == "=" and before[-2] == "="
            yield Literal(unquoted(token), place, translated and not compared, shown and not translated)
        elif token in ("(", "[", "{"):
            named = token == "(" and bool(re.match(r"[A-Za-z_$]", before[-1]))
            open_.append((before[-1] if named else token, token == "(" and (before[-1] in ("t", "ts") or (open_[-1][1] and not named))))
        elif token in (")", "]", "}"):
            if len(open_) > 1:
                open_.pop()
        elif token == "," and open_[-1][0] in ("t", "ts"):
            open_[-1] = ("", False)  # after the text come its values
        before = [*before[1:], token]


def unquoted(text: str) -> str:
    body = re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), text[1:-1])
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), body)


def scripts() -> list[Path]:
    return sorted((ROOT / "javascript").glob("*.js"))


# -- both beside the translations -----------------------------------------------------------------------------------------------------------------

#: What stays as it is: what a programmer's mistake says, names of others' options, words of the filter's language.
NOT_SHOWN = frozenset(
    {
        "one threshold per tag is needed", "unknown scheduler {}", "unknown event type {}", "the tagger is closed", "unknown mode {}", "STATE", "Win",
        "AdamW8bit", "Lion", "{}, <lora:{}:{}>", "AND", "OR", "NOT", "smile OR frown, NOT (a b)",
    }
)  # fmt: skip
#: Keys that this cannot find in the source, each with where it comes from.
FOUND_NOWHERE: dict[str, str] = {
    **dict.fromkeys((": ", "; "), "what ts() puts between the parts of a message"),
    **dict.fromkeys(("drawing epoch {}", "drawing the base model"), "evaluation/run.py puts them together"),
}  # fmt: skip


@cache
def said() -> dict[str, str]:
    """Every text that people read -> where it is said first."""
    found: dict[str, str] = {}
    for path in scripts():
        for one in literals(path):
            wanted = (one.translated and re.search(r"[A-Za-z]", re.sub(r"{\w*}", "", one.text))) or prose(one.text)
            if wanted and one.text not in NOT_SHOWN:
                found.setdefault(one.text, one.place)
    for module in python_modules():
        for one in module.said():
            if one.text not in NOT_SHOWN:
                found.setdefault(one.text, one.place)
    return found


@cache
def everything() -> set[str]:
    """Every text in the source at all, and its pieces: what may be a key."""
    found = {one.text for path in scripts() for one in literals(path)}
    for module in python_modules():
        found.update(module.everything())
    return found | {piece for text in found for piece in pieces(text)}


GAPS = (r"(?<=[.!?]) |\n\s*", "; ", ": ")  # as in ts()


def pieces(text: str) -> list[str]:
    """The parts of a text of the server that may be translated each for itself: sentences, lines, what follows the name of an option."""
    split = [re.sub(r"^([a-z_]+(, [a-z_]+)*|{}): ", "", piece) for piece in re.split(GAPS[0], text)]
    return [piece for piece in split if re.search(r"[A-Za-z]{2}", piece.replace("{}", ""))]


class Words:
    """What ts() in javascript/lora_studio_0_core.js makes of a text of the server: the same rules in the same order."""

    def __init__(self, words: dict[str, str]) -> None:
        self.words = words
        self.used: set[str] = set()
        ordered = sorted((key for key in words if "{}" in key), key=len, reverse=True)
        self.patterns = [(key, re.compile("^" + "([\\s\\S]*?)".join(map(re.escape, key.split("{}"))) + "$")) for key in ordered]

    def know(self, text: str) -> bool:
        """Whether nothing English is left of it. ``{}`` is a value: some word."""
        if text not in self.words:
            sentences = re.split(GAPS[0], text)
            if len(sentences) > 1 and all(self._whole(one) for one in sentences):
                return True
        return self._whole(text) or next((all(map(self._inside, parts)) for gap in GAPS if len(parts := re.split(gap, text)) > 1), False)

    def _whole(self, text: str) -> bool:
        if text in self.words:
            self.used.add(text)
            return True
        filled = text.replace("{}", VALUE)
        for key, pattern in self.patterns:
            if found := pattern.match(filled):
                self.used.add(key)
                inside = [self._inside(value.replace(VALUE, "{}")) for value in found.groups()]  # all of them, for what they use
                return all(inside)
        return False

    def _inside(self, piece: str) -> bool:
        return " " not in piece.strip() or self.know(piece)


VALUE = "\x00"


def missing(words: dict[str, str]) -> dict[str, str]:
    """Texts without a translation -> where they are said. A text of the server may be translated piece by piece, one of the page only whole."""
    found: dict[str, str] = {}
    known = Words(words)
    for text, place in said().items():
        if text not in words and place.startswith("javascript/"):
            found.setdefault(text, place)
        elif not known.know(text):
            for piece in pieces(text):
                if not known.know(piece):
                    found.setdefault(piece, place)
    return found


def unused(words: dict[str, str]) -> list[str]:
    """Translations of what nobody says any more."""
    inside = Words(words)
    for text in said():
        inside.know(text)
    known = everything() | inside.used | set(FOUND_NOWHERE)
    return sorted(key for key in words if key not in known)


def bypassing() -> dict[str, str]:
    """Texts that go into the page without t(…) -> where."""
    return {one.text: one.place for path in scripts() for one in literals(path) if one.shown and prose(one.text)}


# -- how they are written -------------------------------------------------------------------------------------------------------------------------

#: The same in Chinese.
SAME = frozenset({"Lora Studio", "TensorBoard", "LoRA", "768 × 768"})
HAN = "\u3400-\u9fff"


def mistakes(key: str, text: str) -> list[str]:
    """What is wrong with one translation."""
    found = []
    values, given = re.findall(r"{(\w*)}", key), re.findall(r"{(\w*)}", text)
    if set(values) <= {""}:
        # Those of the server may be numbered: {1} is the second. {} are counted among themselves.
        counter = itertools.count()
        values, given = [str(k) for k in range(len(values))], [one or str(next(counter)) for one in given]
    if sorted(set(values)) != sorted(set(given)):
        found.append("the values in braces differ")
    if key == text and re.search(r"[A-Za-z]{2}", re.sub(r"{\w*}", "", key)) and key not in SAME:
        found.append("it is not translated")
    # What is written as it is elsewhere: code, paths, values.
    plain = re.sub(r"`[^`]*`|{\w*}|\([^()]*\)", "", text)
    if re.search(f"[{HAN}][,;:?!]|[,;?!](?=[{HAN}])", plain):
        found.append("a half-width sign beside Chinese")
    if re.search(f"[{HAN}]\\.(?![\\w/])", plain):
        found.append("a sentence ends with . instead of 。")
    if re.search(f"[{HAN}] (?=[{HAN}])", plain):
        found.append("a space between Chinese characters")
    if re.search("[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]", text):
        found.append("full-width letters or digits")
    if re.search(r"[\w})”\"]\.\Z", key) and not re.search(r"[。！？…：）”]\Z", text):
        found.append("the English ends with a full stop, the Chinese does not")
    if not re.search(r"[.!?:]\W*\Z", key) and text.endswith("。"):
        found.append("the Chinese ends with a full stop, the English does not")
    if ('"' in text and '"' not in key) or ("'" in re.sub(r"[A-Za-z]'[a-z]", "", text) and "'" not in key) or "「" in text:
        found.append("quotation marks are “ and ”")
    if text.count("“") != text.count("”") or text.count("（") != text.count("）"):
        found.append("quotation marks or brackets are not closed")
    if text != text.strip() and key == key.strip():
        found.append("spaces around it")
    return found


def load(locale: str = "zh_CN") -> dict[str, str]:
    words: dict[str, str] = json.loads((HERE / f"{locale}.json").read_text(encoding="utf-8"))
    return words


def main() -> int:
    parser = argparse.ArgumentParser(description="What people read on the page, beside its translations.")
    parser.add_argument("--locale", default="zh_CN")
    parser.add_argument("--missing", action="store_true", help="only the missing texts, as JSON to fill in")
    options = parser.parse_args()
    words = load(options.locale)
    lacking = missing(words)
    if options.missing:
        print(json.dumps(dict.fromkeys(sorted(lacking), ""), ensure_ascii=False, indent=1))
        return bool(lacking)
    wrong = [(key, text, mistake) for key, text in words.items() for mistake in mistakes(key, text)]
    lines = [f"missing: {text!r}  ({place})" for text, place in lacking.items()]
    lines += [f"not through t(): {text!r}  ({place})" for text, place in bypassing().items()]
    lines += [f"unused: {key!r}" for key in unused(words)]
    lines += [f"{mistake}: {key!r} -> {text!r}" for key, text, mistake in wrong]
    print("\n".join(lines) or f"{len(words)} texts, all translated.")
    return bool(lines)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    raise SystemExit(main())
