"""Tags that a picture seems to lack: its caption is without them, though a tagger has seen them there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..editing import normal_form
from ..editing.index import open_index
from .preview import known_of, targets
from .wd14 import TaggerFiles

LEAST = 0.5
LISTED = 300


def find_missing(dataset_dir: Path, taggers: Sequence[TaggerFiles], tag: str = "", least: float = LEAST) -> dict[str, Any]:
    """{tagger, stored, tags: [[tag, pictures that seem to lack it, pictures that have it]], pictures: [[name, probability]] of `tag`}.

    Only tags that some caption has are looked for: the others were taken out on purpose, or never wanted. The tagger with the most
    stored probabilities is asked; "" when there are none.
    """
    nothing: dict[str, Any] = {"tagger": "", "stored": 0, "tags": [], "pictures": []}
    if not dataset_dir.is_dir():
        return nothing
    known = known_of(dataset_dir)
    with known.lock:
        pictures = targets(known, "overwrite")
        stored = [(sum(p.digest in (store := known.store(files)) for p in pictures), files) for files in taggers]
        count, files = max(stored, key=lambda found: found[0], default=(0, None))
        if not count or files is None:
            return nothing
        store = known.store(files)
        forms = [normal_form(label.name) if label.category != "rating" else "" for label in files.labels]
        wanted, index = normal_form(tag) if tag else "", open_index(dataset_dir)
        lacking: Counter[str] = Counter()
        rows: list[list[Any]] = []
        for picture in pictures:
            if picture.digest not in store:
                continue
            columns, values = store.sparse(picture.digest)
            have = set(map(normal_form, picture.tags))
            for place in np.flatnonzero(values >= least).tolist():
                form = forms[int(columns[place])]
                if form and form not in have and form in index.spellings:
                    lacking[form] += 1
                    if form == wanted:
                        rows.append([picture.name, float(values[place])])
        tags = [[index.usual(form), n, len(index.holders(form))] for form, n in lacking.most_common(LISTED)]
    return {"tagger": files.name, "stored": count, "tags": tags, "pictures": sorted(rows, key=lambda row: (-row[1], row[0]))}
