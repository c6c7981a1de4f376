"""A tagger kept open for one picture after another: ``python -m lora_studio.tagging.serve``, one JSON object a line in and out.

Asked {"model", "image": base64} it answers {"tag": {name: probability}, "rating": {...}, "provider"}; asked {"unload": true}, {"unloaded": n};
what goes wrong is {"error", "hint"}. It ends with its input, and with the program that started it.
"""

from __future__ import annotations

import base64
import binascii
import json
import sys
from collections import OrderedDict
from typing import Any, TextIO

from ..dataset import load_image
from ..errors import UserError
from ..failures import because
from ..parent import end_with_parent
from ..patience import opened, temporary_folder
from .preprocess import WHITE
from .wd14 import Tagger, find_files

OPEN = 2  # taggers at a time: a gigabyte each


class Desk:
    """The taggers that were asked last."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, Tagger] = OrderedDict()

    def tagger(self, model: str) -> Tagger:
        """The tagger, opened when it is not; one not asked for longest is closed. Raises UserError."""
        found = self._open.pop(model, None)
        while found is None and len(self._open) >= OPEN:
            self._open.popitem(last=False)[1].close()
        self._open[model] = found = found or Tagger(find_files(model))
        return found

    def unload(self) -> int:
        """Close them all; how many there were."""
        count = len(self._open)
        while self._open:
            self._open.popitem()[1].close()
        return count

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Never raises: what goes wrong is the answer."""
        try:
            if asked.get("unload"):
                return {"unloaded": self.unload()}
            return self._interrogate(str(asked["model"]), str(asked["image"]))
        except UserError as error:
            return {"error": error.message, "hint": error.hint}
        except Exception as error:  # the next picture is none the worse for this one
            why, hint = because(error)
            return {"error": f"The tagger failed: {why}", "hint": hint}

    def _interrogate(self, model: str, image: str) -> dict[str, Any]:
        tagger = self.tagger(model)
        row = tagger.predict([_decode(image)])[0].astype(float).tolist()
        found: dict[str, dict[str, float]] = {"tag": {}, "rating": {}}
        for label, value in sorted(zip(tagger.labels, row, strict=True), key=lambda pair: -pair[1]):
            found["rating" if label.category == "rating" else "tag"][label.name] = value
        return {**found, "provider": tagger.provider}


def _decode(image: str) -> Any:
    """A picture given as base64, with or without ``data:image/…;base64,`` before it. Raises UserError."""
    try:
        data = base64.b64decode(image.partition(",")[2] if image.startswith("data:") else image, validate=False)
    except (binascii.Error, ValueError) as error:
        raise UserError(f"The image is not base64: {error}.") from error
    with temporary_folder() as folder:
        path = folder / "image"
        with opened(path, "xb") as file:
            file.write(data)
        try:
            return load_image(path, WHITE)
        except UserError as error:
            raise UserError(error.message.replace(f" {path}", ""), "Send a PNG, JPEG, WebP, AVIF, BMP or GIF.") from None


def serve(lines: TextIO, out: TextIO) -> None:
    """Answer until the lines end."""
    desk = Desk()
    for line in lines:
        print(json.dumps(desk.answer(json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    end_with_parent()
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not stand among the answers
    serve(sys.stdin, answers)
