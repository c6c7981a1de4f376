"""CLIP's byte-pair vocabulary and the 77-token chunks that the WebUI feeds to a text encoder."""

from __future__ import annotations

import gzip
import json
import re
from functools import lru_cache
from importlib import resources
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from lora_studio.errors import UserError
from lora_studio.files import atomic_write_text
from lora_studio.trainer.emphasis import BREAK, parse

BOS = 49406
EOS = 49407
COMMA = 267
CHUNK = 75
NEW_CHUNK = -1
#: how far back the WebUI looks for a comma before it splits a prompt (its default "comma padding backtrack")
COMMA_BACKTRACK = 20
_MERGES = 49152 - 256 - 2


def _byte_symbols() -> list[str]:
    """The 256 printable stand-ins for bytes of GPT-2's byte-level BPE, in vocabulary order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]


def _bundled_bpe() -> tuple[dict[str, int], list[tuple[str, str]]]:
    packed = (resources.files(__package__) / "configs" / "clip_bpe_vocab_16e6.txt.gz").read_bytes()
    lines = gzip.decompress(packed).decode("utf-8").split("\n")[1 : _MERGES + 1]
    merges = [(pair[0], pair[1]) for pair in (line.split() for line in lines)]
    symbols = _byte_symbols()
    words = symbols + [s + "</w>" for s in symbols] + ["".join(pair) for pair in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return {word: index for index, word in enumerate(words)}, merges


def _build(vocab: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    tokenizer = Tokenizer(
        models.BPE(vocab=vocab, merges=merges, end_of_word_suffix="</w>", fuse_unk=False, unk_token="<|endoftext|>")
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = Regex(r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(words, behavior="removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.add_special_tokens([AddedToken("<|startoftext|>"), AddedToken("<|endoftext|>")])
    return tokenizer


class ClipTokenizer:
    """Text to CLIP token ids, without start and end tokens. `pad` is what fills a chunk after its end token."""

    def __init__(self, tokenizer: Tokenizer, pad: int = EOS) -> None:
        self._tokenizer = tokenizer
        self.pad = pad

    @classmethod
    def bundled(cls, pad: int = EOS) -> ClipTokenizer:
        """The vocabulary of OpenAI's CLIP, which every SD1, SD2 and SDXL text encoder uses."""
        return cls(_bundled_tokenizer(), pad)

    @classmethod
    def from_folder(cls, folder: Path, pad: int = EOS) -> ClipTokenizer:
        """`vocab.json` and `merges.txt` of a folder; the bundled vocabulary where the folder has none."""
        vocab_file, merges_file = folder / "vocab.json", folder / "merges.txt"
        if not (vocab_file.is_file() and merges_file.is_file()):
            return cls.bundled(pad)
        try:
            vocab = json.loads(vocab_file.read_text(encoding="utf-8"))
            lines = merges_file.read_text(encoding="utf-8").split("\n")
            pairs = [line.split() for line in lines if line.strip() and not line.startswith("#version")]
            return cls(_build(vocab, [(a, b) for a, b in pairs]), pad)
        except (ValueError, OSError) as error:
            raise UserError(f"The tokenizer in {folder} cannot be read: {error}", "Restore vocab.json and merges.txt.") from error

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`; escaped brackets (`\\(`) count as plain ones, as in the WebUI."""
        return list(self._tokenizer.encode(unescape(text), add_special_tokens=False).ids)

    def chunks(self, text: str, max_tokens: int = 225) -> list[list[int]]:
        """`text` as one or more rows of 77 ids: start, 75 tokens, end; at most `max_tokens` / 75 rows."""
        rows = split_chunks(self.encode(text))[: max(1, -(-max_tokens // CHUNK))]
        return [self._row(row) for row in rows]

    def weighted_chunks(self, prompt: str, max_tokens: int = 225) -> tuple[list[list[int]], list[list[float]]]:
        """As `chunks`, but of a prompt in the WebUI's notation, with the weight of each of the 77 tokens of a row beside it."""
        items: list[tuple[int, float]] = []
        for text, weight in parse(prompt):
            if (text, weight) == BREAK:
                items.append((NEW_CHUNK, 1.0))
            else:
                items += [(token, weight) for token in self._tokenizer.encode(text, add_special_tokens=False).ids]
        runs = _split(items)[: max(1, -(-max_tokens // CHUNK))]
        weights = [[1.0, *(weight for _, weight in run)] for run in runs]
        return [self._row([token for token, _ in run]) for run in runs], [w + [1.0] * (CHUNK + 2 - len(w)) for w in weights]

    def empty_chunk(self) -> list[int]:
        return self._row([])

    def _row(self, tokens: list[int]) -> list[int]:
        row = [BOS, *tokens, EOS]
        return row + [self.pad] * (CHUNK + 2 - len(row))


@lru_cache(maxsize=1)
def _bundled_tokenizer() -> Tokenizer:
    return _build(*_bundled_bpe())


def unescape(text: str) -> str:
    return re.sub(r"\\([()\[\]\\])", r"\1", text)


def split_chunks(tokens: list[int]) -> list[list[int]]:
    """Split tokens into runs of at most 75, at a comma where one is among the last 20, as the WebUI does."""
    return [[token for token, _ in run] for run in _split([(token, 1.0) for token in tokens])]


def _split(items: list[tuple[int, float]]) -> list[list[tuple[int, float]]]:
    """Runs of (token, weight); NEW_CHUNK ends a run."""
    runs: list[list[tuple[int, float]]] = []
    run: list[tuple[int, float]] = []
    comma = -1
    for item in items:
        if item[0] == NEW_CHUNK:
            runs.append(run)
            run, comma = [], -1
            continue
        if item[0] == COMMA:
            comma = len(run)
        elif len(run) == CHUNK and comma != -1 and len(run) - comma <= COMMA_BACKTRACK:
            runs.append(run[: comma + 1])
            run, comma = run[comma + 1 :], -1
        if len(run) == CHUNK:
            runs.append(run)
            run, comma = [], -1
        run.append(item)
    if run or not runs:
        runs.append(run)
    return runs


def write_tokenizer_files(folder: Path) -> None:
    """Write `vocab.json`, `merges.txt` and transformers' two small configs: what a program that wants a tokenizer folder reads."""
    vocab, merges = _bundled_bpe()
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    config = {**special, "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True, "add_prefix_space": False}
    atomic_write_text(folder / "vocab.json", json.dumps(vocab, ensure_ascii=False))
    atomic_write_text(folder / "merges.txt", "\n".join(["#version: 0.2", *(f"{a} {b}" for a, b in merges)]) + "\n")
    atomic_write_text(folder / "special_tokens_map.json", json.dumps(special, indent=2))
    atomic_write_text(folder / "tokenizer_config.json", json.dumps(config, indent=2))
