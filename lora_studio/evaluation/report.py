"""The report as one HTML file: numbers, curves and pictures inline, nothing fetched, English and Chinese."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from typing import Any

from PIL import Image

from .chart import Curve, svg
from .words import both

THUMB = 256
PER_ROW = 8


@dataclass(frozen=True)
class Row:
    """Pictures side by side under a label (English, Chinese); ``captions`` are shown when the pointer rests on one."""

    label: tuple[str, str]
    pictures: tuple[Image.Image, ...]
    captions: tuple[str, ...] = ()
    best: bool = False


@dataclass(frozen=True)
class Section:
    """A heading, a sentence under it (each English, Chinese) and rows of pictures."""

    heading: tuple[str, str]
    text: tuple[str, str]
    rows: tuple[Row, ...]


def data_uri(picture: Image.Image, longest: int = THUMB) -> str:
    """The picture as an inline WebP, shrunk to ``longest`` pixels."""
    small = picture.convert("RGB")
    if max(small.size) > longest:
        small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=88, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def html(report: Mapping[str, Any], sections: Sequence[Section], grid: Image.Image | None = None) -> str:
    """The whole page. ``report`` is what report.json holds; everything from it is escaped."""
    title = f"{report.get('project') or report.get('trigger') or 'LoRA'}"
    style = (resources.files(__package__) / "report.css").read_text(encoding="utf-8")
    body = [
        '<header><button type="button" id="language">中文 / English</button>',
        f"<h1>{escape(title)}</h1>",
        f"<p class=lead>{both(('Recommended: epoch ', '推荐：第 '))}<b>{int(report['recommended'])}</b>{both(('', ' 轮'))}</p>",
        f"<p>{both((str(report.get('reason', '')), str(report.get('reason_zh', ''))))}</p>{_facts(report)}</header>",
        f"<section><h2>{both(('Scores', '评分'))}</h2>{_chart(report)}{_table(report)}{_legend()}</section>",
    ]
    body += [_section(section) for section in sections]
    if grid is not None:
        words = both(("Epochs and weights", "轮次与权重"))
        about = both(
            (
                "The same prompt and seed with every epoch (rows) at every LoRA weight (columns).",
                "同一提示词与种子，在每一轮（行）与每个 LoRA 权重（列）下的结果。",
            )
        )
        body.append(f'<section><h2>{words}</h2><p>{about}</p><img class="grid" alt="" src="{data_uri(grid, 2400)}"></section>')
    if report.get("by_tag"):
        body.append(_tags(report))
    script = (
        "const r=document.documentElement,s=l=>r.lang=l;"
        "s((navigator.language||'').startsWith('zh')?'zh':'en');"
        "document.getElementById('language').onclick=()=>s(r.lang=='en'?'zh':'en');"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" "
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{style}</style></head><body>{''.join(body)}<script>{script}</script></body></html>\n"
    )


def percent(value: float | None) -> str:
    """``0.953`` -> ``95%``; a dash for what was not measured."""
    return "–" if value is None else f"{value:.0%}"


def _facts(report: Mapping[str, Any]) -> str:
    pairs = [
        (("Trigger word", "触发词"), report.get("trigger")),
        (("Removed traits", "被移除的特征"), ", ".join(report.get("traits") or ())),
        (("Training pictures", "训练图片"), report.get("images")),
        (("Base model", "底模"), report.get("base_model")),
        (("Tagger", "打标模型"), report.get("tagger")),
        (("Steps", "步数"), report.get("steps")),
        (("Steps per second", "每秒步数"), report.get("steps_per_second")),
    ]
    rows = [f"<dt>{both(label)}</dt><dd>{escape(str(value))}</dd>" for label, value in pairs if value not in (None, "")]
    notes = "".join(f"<p class=note>{escape(str(note))}</p>" for note in report.get("notes") or ())
    return f"<dl>{''.join(rows)}</dl>{notes}"


def _measures(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [("0", report["base"]), *((str(e["epoch"]), e) for e in report["epochs"])]


def _chart(report: Mapping[str, Any]) -> str:
    measures = _measures(report)
    curves = [
        Curve(label, css, tuple(m.get(css) for _, m in measures))
        for label, css in (("likeness 相似度", "likeness"), ("flexibility 灵活度", "flexibility"), ("leakage 泄漏", "leakage"))
    ]
    numbers = [tick for tick, _ in measures]
    marked = numbers.index(str(report["recommended"])) if str(report["recommended"]) in numbers else None
    return svg(curves, numbers, marked, "likeness, flexibility and leakage by epoch")


def _table(report: Mapping[str, Any]) -> str:
    head = "".join(
        f"<th>{both(words)}</th>"
        for words in (("Epoch", "轮次"), ("Likeness", "相似度"), ("Flexibility", "灵活度"), ("Leakage", "泄漏"), ("Balance", "均衡"))
    )
    rows = []
    for tick, m in _measures(report):
        name = both(("base model", "底模")) if tick == "0" else escape(tick)
        best = ' class="best"' if tick == str(report["recommended"]) else ""
        numbers = "".join(f"<td>{percent(m.get(k))}</td>" for k in ("likeness", "flexibility", "leakage", "score"))
        rows.append(f"<tr{best}><td>{name}</td>{numbers}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _legend() -> str:
    lines = (
        (
            "likeness",
            ("Likeness: share of the removed traits that the tagger finds when only the trigger word is prompted.",
             "相似度：仅用触发词时，打标模型重新找到的已移除特征的比例。"),
        ),
        (
            "flexibility",
            ("Flexibility: share of other prompted tags (background, clothes, expression) that are obeyed with the trigger.",
             "灵活度：带触发词时，其他提示标签（背景、服装、表情）被遵循的比例。"),
        ),
        (
            "leakage",
            ("Leakage: share of the traits that appear without the trigger and unnamed; compare it with the base model's.",
             "泄漏：不用触发词、也未提及时仍出现的特征比例；请与底模比较。"),
        ),
    )  # fmt: skip
    return "<ul class=legend>" + "".join(f'<li class="{css}">{both(words)}</li>' for css, words in lines) + "</ul>"


def _section(section: Section) -> str:
    rows = []
    for row in section.rows:
        captions = [*row.captions, *[""] * len(row.pictures)]
        pictures = "".join(
            f'<img alt="{escape(c)}" title="{escape(c)}" src="{data_uri(p)}">' for p, c in zip(row.pictures[:PER_ROW], captions)
        )
        rows.append(f'<div class="row{" best" if row.best else ""}"><span>{both(row.label)}</span><div>{pictures}</div></div>')
    return f"<section><h2>{both(section.heading)}</h2><p>{both(section.text)}</p>{''.join(rows)}</section>"


def _tags(report: Mapping[str, Any]) -> str:
    """How often each trait was found, base against the recommended epoch."""
    rows = "".join(
        f"<tr><td>{escape(tag)}</td><td>{percent(shares.get('base'))}</td><td>{percent(shares.get('recommended'))}</td></tr>"
        for tag, shares in report["by_tag"].items()
    )
    head = "".join(f"<th>{both(w)}</th>" for w in (("Trait", "特征"), ("Base model", "底模"), ("Recommended epoch", "推荐轮次")))
    heading = both(("Each trait, with the trigger alone", "仅用触发词时的各特征"))
    return f"<section><h2>{heading}</h2><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></section>"
