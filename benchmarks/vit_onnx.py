"""A model file with a WD14 ViT-B's interface and amount of work, and weights that know nothing.

Only for timing: what share of a real tagger's time everything around the model takes, on a machine without one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, PATCH, WIDTH, HEADS, LAYERS = 448, 16, 768, 12, 12


def write_vit(folder: Path, labels: int = 10861) -> Path:
    """Write model.onnx (86 million weights besides the head) and selected_tags.csv into `folder`; returns it."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []
    cells = SIDE // PATCH
    tokens = cells * cells

    def constant(name: str, value: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(value, name))
        return name

    def node(kind: str, inputs: list[str], name: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def matrix(name: str, rows: int, columns: int) -> str:
        return constant(name, (rng.standard_normal((rows, columns), dtype=np.float32) / np.sqrt(rows)).astype(np.float32))

    def shape(name: str, *sides: int) -> str:
        return constant(name, np.array(sides, dtype=np.int64))

    x = node("Div", ["input", constant("levels", np.float32(255))], "scaled")
    x = node("Reshape", [x, shape("split", -1, cells, PATCH, cells, PATCH * 3)], "cells")
    x = node("Transpose", [x], "turned", perm=[0, 1, 3, 2, 4])
    x = node("Reshape", [x, shape("flat", -1, tokens, PATCH * PATCH * 3)], "patches")
    x = node("MatMul", [x, matrix("embed", PATCH * PATCH * 3, WIDTH)], "tokens")
    one, zero = constant("one", np.ones(WIDTH, np.float32)), constant("zero", np.zeros(WIDTH, np.float32))
    heads, merged = shape("heads", -1, tokens, HEADS, WIDTH // HEADS), shape("merged", -1, tokens, WIDTH)
    scale = constant("scale", np.float32((WIDTH // HEADS) ** -0.5))
    for layer in range(LAYERS):
        n = f"l{layer}_"
        y = node("LayerNormalization", [x, one, zero], n + "norm1")
        parts = {}
        for which, perm in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
            part = node("MatMul", [y, matrix(n + which + "_w", WIDTH, WIDTH)], n + which)
            part = node("Reshape", [part, heads], n + which + "_heads")
            parts[which] = node("Transpose", [part], n + which + "_turned", perm=perm)
        scores = node("Mul", [node("MatMul", [parts["q"], parts["k"]], n + "dots"), scale], n + "scores")
        y = node("MatMul", [node("Softmax", [scores], n + "attention", axis=-1), parts["v"]], n + "mixed")
        y = node("Reshape", [node("Transpose", [y], n + "back", perm=[0, 2, 1, 3]), merged], n + "joined")
        x = node("Add", [x, node("MatMul", [y, matrix(n + "out_w", WIDTH, WIDTH)], n + "out")], n + "sum1")
        y = node("LayerNormalization", [x, one, zero], n + "norm2")
        y = node("MatMul", [y, matrix(n + "up_w", WIDTH, 4 * WIDTH)], n + "up")
        y = node("Mul", [y, node("Sigmoid", [y], n + "gate")], n + "act")
        x = node("Add", [x, node("MatMul", [y, matrix(n + "down_w", 4 * WIDTH, WIDTH)], n + "down")], n + "sum2")
    x = node("ReduceMean", [x], "pooled", axes=[1], keepdims=0)
    node("Sigmoid", [node("MatMul", [x, matrix("head", WIDTH, labels)], "logits")], "output")
    graph = helper.make_graph(
        nodes,
        "vit",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch_size", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch_size", labels])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(folder / "model.onnx"))
    rows = [f"{i},tag_{i},{9 if i < 4 else 0},0" for i in range(labels)]
    (folder / "selected_tags.csv").write_text("\n".join(["tag_id,name,category,count", *rows]) + "\n", encoding="utf-8")
    return folder
