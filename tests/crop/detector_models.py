"""Tiny ONNX models shaped like YuNet and YOLO that find what is bright and 64 pixels wide: their score is the mean of that window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

WINDOW, STRIDE = 64, 8


def _save(path: Path, nodes: list, constants: dict[str, np.ndarray], shape: list, outputs: dict[str, list]) -> Path:
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def _score(white: float) -> tuple[list, dict[str, np.ndarray]]:
    """Nodes that give "score", (1, N, 1): the mean brightness around each cell, 1 for a window that is all white."""
    from onnx import helper

    pad = (WINDOW - STRIDE) // 2
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["grey"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["grey", "scale"], ["light"]),
        helper.make_node("AveragePool", ["light"], ["cells"], kernel_shape=[WINDOW] * 2, strides=[STRIDE] * 2, pads=[pad] * 4, count_include_pad=1),
        helper.make_node("Reshape", ["cells", "flat"], ["score"]),
    ]
    return nodes, {"scale": np.float32(1 / white).reshape(1), "flat": np.array([1, -1, 1], dtype=np.int64)}


def yunet(path: Path, side: int = 320) -> Path:
    """The outputs of face_detection_yunet_2023mar.onnx, but for the landmarks."""
    from onnx import helper

    nodes, constants = _score(255)
    nodes.append(helper.make_node("Identity", ["score"], ["obj_8"]))
    outputs: dict[str, list] = {"obj_8": [1, (side // 8) ** 2, 1]}
    for stride in (8, 16, 32):
        count = (side // stride) ** 2
        given = {f"bbox_{stride}": np.tile(np.array([0.5, 0.5, np.log(WINDOW / stride), np.log(WINDOW / stride)], np.float32), (1, count, 1))}
        given[f"cls_{stride}"] = np.ones((1, count, 1), np.float32)
        if stride > 8:
            given[f"obj_{stride}"] = np.zeros((1, count, 1), np.float32)
        for name, value in given.items():
            constants[f"c_{name}"] = value
            nodes.append(helper.make_node("Identity", [f"c_{name}"], [name]))
            outputs[name] = list(value.shape)
    return _save(path, nodes, constants, [1, 3, side, side], outputs)


def yolo(path: Path, form: str, side: int = 320, any_size: bool = False) -> Path:
    """form: "v8" (1, 5, N), "v5" (1, N, 6) with objectness and class, "chosen" (1, N, 6) corners, score and class."""
    from onnx import helper

    nodes, constants = _score(1)
    across = side // STRIDE
    y, x = np.mgrid[0:across, 0:across].reshape(2, -1) * STRIDE + STRIDE / 2
    half = np.full_like(x, WINDOW / 2)
    boxes = np.stack([x - half, y - half, x + half, y + half] if form == "chosen" else [x, y, 2 * half, 2 * half], 1)
    constants["boxes"] = boxes[None].astype(np.float32)
    columns = ["boxes", "score"]
    if form != "v8":
        constants["class"] = np.full((1, across**2, 1), 0.0 if form == "chosen" else 0.97, np.float32)
        columns.append("class")
    rows = "rows" if form == "v8" else "output0"
    nodes.append(helper.make_node("Concat", columns, [rows], axis=2))
    shape: list = [1, across**2, 6]
    if form == "v8":
        nodes.append(helper.make_node("Transpose", ["rows"], ["output0"], perm=[0, 2, 1]))
        shape = [1, 5, across**2]
    return _save(path, nodes, constants, ["batch", 3, "height", "width"] if any_size else [1, 3, side, side], {"output0": shape})
