"""Faces by an ONNX model that the user dropped into a folder: YuNet (OpenCV Zoo, 2023), and the YOLO forms that anime-face models come in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import UserError
from ..failures import because
from .siblings import Face

SIDE = 640  # of a model that takes any size
SURE = 0.5
OVERLAP = 0.45  # of two boxes from which on they are one face
MOST = 50
OTHER_ONE = "Take it out of the folder, or choose another one."
GREY = (114, 114, 114)  # what YOLO models are trained to see beside a picture
STRIDES = (8, 16, 32)


def find_detector(folders: Iterable[Path]) -> Path | None:
    """The first .onnx file of these folders in order of name."""
    for folder in folders:
        if folder.is_dir():
            found = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".onnx" and path.is_file() and not path.name.startswith("."))
            if found:
                return found[0]
    return None


def detector_id(path: Path) -> str:
    """Which model this is, for remembering what it found; "" when it is not there."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{path.name}:{found.st_mtime_ns:x}:{found.st_size:x}"


@dataclass(frozen=True)
class Detector:
    """A loaded model. kind: "yunet" or "yolo"; side: (width, height) of its input, name of that input, names of its outputs."""

    id: str
    session: Any
    kind: str
    side: tuple[int, int]
    input: str
    outputs: tuple[str, ...]

    def find(self, image: Image.Image, size: tuple[int, int]) -> tuple[Face, ...]:
        """Faces of an RGB picture, the surest first, in the pixels of the original of this size. Raises UserError when the model fails."""
        width, height = self.side
        scale = min(width / image.width, height / image.height)
        small = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BILINEAR, reducing_gap=2.0)
        canvas = Image.new("RGB", self.side, GREY if self.kind == "yolo" else (0, 0, 0))
        canvas.paste(small)
        pixels = np.array(canvas, dtype=np.float32)
        if self.kind == "yunet":  # BGR 0..255
            pixels = pixels[..., ::-1]
        else:
            pixels /= 255
        try:
            found = self.session.run(list(self.outputs), {self.input: np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])})
        except Exception as error:  # whatever a model of anybody's may do
            why, hint = because(error, hint=OTHER_ONE)
            raise UserError(f"The face detector failed: {why}", hint) from error
        rows = decode_yunet(dict(zip(self.outputs, found)), self.side) if self.kind == "yunet" else decode_yolo(found[0])
        across, down = size[0] / small.width, size[1] / small.height
        faces = []
        for left, top, right, bottom, score in suppress_doubles(rows).tolist():
            box = (max(0.0, left * across), max(0.0, top * down), min(float(size[0]), right * across), min(float(size[1]), bottom * down))
            if box[2] - box[0] >= 1 and box[3] - box[1] >= 1:
                faces.append((round(box[0], 1), round(box[1], 1), round(box[2], 1), round(box[3], 1), round(score, 3)))
        return tuple(faces)


def load_detector(path: Path) -> Detector:
    """Raises UserError when ONNX Runtime or the model does not start, or the model is of another kind."""
    try:
        import onnxruntime
    except Exception as error:  # a broken installation fails in many ways
        why, hint = because(error, hint="Install the training packages from the tab, or let boxes go where the eye goes.")
        raise UserError(f"ONNX Runtime, which finding faces needs, does not start: {why}", hint) from error
    try:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # several pictures are looked at at a time
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        why, hint = because(error, hint=OTHER_ONE)
        raise UserError(f"The face detector {path.name} does not start: {why}", hint) from error
    given, outputs = session.get_inputs(), session.get_outputs()
    names = tuple(one.name for one in outputs)
    kind = _kind(given[0].shape, names, [one.shape for one in outputs]) if len(given) == 1 else ""
    if not kind:
        raise UserError(
            f"{path.name} is no face detector that is known here.",
            "It takes YuNet (face_detection_yunet_2023mar.onnx) and YOLO models for one kind of face.",
        )
    height, width = (n if isinstance(n, int) and n > 0 else SIDE for n in given[0].shape[2:])
    return Detector(detector_id(path), session, kind, (width, height), given[0].name, names if kind == "yunet" else names[:1])


def _kind(shape: list[Any], names: tuple[str, ...], shapes: list[list[Any]]) -> str:
    if len(shape) != 4 or shape[1] != 3:
        return ""
    if all(f"{what}_{stride}" in names for what in ("cls", "obj", "bbox") for stride in STRIDES):
        return "yunet"
    return "yolo" if len(shapes[0]) == 3 and (shapes[0][0] in (1, None) or isinstance(shapes[0][0], str)) else ""


def decode_yunet(found: dict[str, np.ndarray], side: tuple[int, int]) -> np.ndarray:
    """Rows of left, top, right, bottom, score from the outputs for strides 8, 16 and 32 of an input of this (width, height)."""
    rows = []
    for stride in STRIDES:
        columns = side[0] // stride
        shares, objects = (np.clip(found[f"{what}_{stride}"].reshape(-1), 0, 1) for what in ("cls", "obj"))
        score = np.sqrt(shares * objects)
        keep = np.flatnonzero(score > SURE)
        boxes = found[f"bbox_{stride}"].reshape(-1, 4)[keep]
        x, y = (keep % columns + boxes[:, 0]) * stride, (keep // columns + boxes[:, 1]) * stride
        width, height = (np.exp(np.minimum(boxes[:, k], 12)) * stride for k in (2, 3))
        rows.append(np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2, score[keep]], 1))
    return np.concatenate(rows)


def decode_yolo(found: np.ndarray) -> np.ndarray:
    """Rows of left, top, right, bottom, score from any of: (1, 4 + classes, N) of YOLOv8 and 11, (1, N, 5 + classes) of YOLOv5
    with how sure it is of an object, (1, N, 6) of models that have chosen already (corners, score, class).
    """
    table = np.asarray(found, dtype=np.float32)[0]
    if table.shape[0] < table.shape[1]:  # a column for each box
        table = table.T
        score = table[:, 4:].max(1)
    elif table.shape[1] == 6 and _chosen(table):
        kept = table[table[:, 4] > SURE]
        return kept[:, :5]
    elif table.shape[1] >= 6:
        score = table[:, 4] * table[:, 5:].max(1)
    else:
        score = table[:, 4]
    kept, score = table[score > SURE], score[score > SURE]
    x, y, width, height = kept[:, 0], kept[:, 1], kept[:, 2], kept[:, 3]
    return np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2, score], 1)


def _chosen(table: np.ndarray) -> bool:
    """Whether rows of six are corners, score and class: classes are whole numbers, and corners come in order."""
    sure = table[table[:, 4] > SURE]
    return bool(
        len(table) <= 1000 and (sure[:, 5] == np.round(sure[:, 5])).all() and (sure[:, 2] > sure[:, 0]).all() and (sure[:, 3] > sure[:, 1]).all()
    )


def suppress_doubles(rows: np.ndarray) -> np.ndarray:
    """The surest box of each that overlap much, the surest first."""
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    kept: list[np.ndarray] = []
    while len(rows) and len(kept) < MOST:
        best, rows = rows[0], rows[1:]
        kept.append(best)
        left, top = np.maximum(rows[:, 0], best[0]), np.maximum(rows[:, 1], best[1])
        right, bottom = np.minimum(rows[:, 2], best[2]), np.minimum(rows[:, 3], best[3])
        common = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
        both = (rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1]) + (best[2] - best[0]) * (best[3] - best[1]) - common
        rows = rows[common <= OVERLAP * np.maximum(both, 1e-6)]
    return np.array(kept, dtype=np.float32).reshape(-1, 5)
