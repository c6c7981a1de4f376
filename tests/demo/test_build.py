"""What the build scripts write beside the weights."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytestmark = pytest.mark.torch


def test_the_yaml_tells_what_the_unet_predicts(tmp_path: Path) -> None:
    from lora_studio.demo import checkpoint_path
    from lora_studio.demo.build.ldm import yaml_for
    from lora_studio.demo.build.unet import PREDICTION, prediction_of
    from lora_studio.trainer.ldm_yaml import read_yaml

    assert checkpoint_path().with_suffix(".yaml").read_text(encoding="utf-8") == yaml_for("epsilon")
    assert prediction_of(tmp_path) == "epsilon"
    (tmp_path / PREDICTION).write_text("v_prediction", encoding="utf-8")
    path = tmp_path / "other.yaml"
    path.write_text(yaml_for(prediction_of(tmp_path)), encoding="utf-8")
    found, usual = read_yaml(path), read_yaml(checkpoint_path().with_suffix(".yaml"))
    assert (found.prediction, usual.prediction) == ("v_prediction", "epsilon")
    assert found.unet == usual.unet
