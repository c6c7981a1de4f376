"""A PyTorch that was installed for another card, or another driver, is noticed, with what to install instead."""

from __future__ import annotations

import pytest

from lora_studio.torch_builds import Card, mistake


@pytest.mark.parametrize(
    ("card", "version", "cuda", "fix"),
    [
        # set up by an earlier version, which took the plain package whatever the card
        (("GTX 1060", 6.1, 560.0), "2.13.0", "13.0", "launch.py setup: it installs PyTorch 2.13.0 for CUDA 12.6"),
        (("RTX 3060", 8.6, 552.4), "2.13.0", "13.0", "launch.py setup: it installs PyTorch 2.13.0 for CUDA 12.6"),
        (("RTX 5070", 12.0, 572.2), "2.13.0+cu126", "12.6", "launch.py setup: it installs PyTorch 2.11.0 for CUDA 12.8"),
        (("RTX 5070", 12.0, 566.4), "2.13.0+cu130", "13.0", "NVIDIA driver 570 or newer"),
        (("RTX 5070", 12.0, 590.0), "2.1.2+cu121", "12.1", "launch.py setup: it installs PyTorch 2.13.0 for CUDA 13.0"),
        (("GTX 1060", 6.1, 560.0), "2.8.0+cu128", "12.8", "CUDA 12.6"),
        (("GTX 1060", 6.1, 560.0), "2.13.0+cu126", "12.6", ""),
        (("RTX 5070", 12.0, 590.0), "2.13.0", "13.0", ""),
        (("RTX 5070", 12.0, 572.2), "2.11.0+cu128", "12.8", ""),
        (("RTX 3060", 8.6, 552.4), "2.1.2+cu121", "12.1", ""),
        (("GTX 960", 0.0, 472.0), "2.13.0", "13.0", ""),  # too old a driver to tell: PyTorch's own words are shown
    ],
)
def test_a_torch_for_other_cards_is_noticed(card: tuple[str, float, float], version: str, cuda: str, fix: str) -> None:
    found = mistake([Card(*card)], version, cuda, "Windows", True)
    assert (found is None) == (not fix)
    if found is not None:
        assert fix in found[1] and card[0] in " ".join(found)
    if "launch.py" in fix:  # a WebUI's torch is the WebUI's to change
        theirs = mistake([Card(*card)], version, cuda, "Windows", False)
        assert theirs is not None and "--reinstall-torch" in theirs[1]


def test_one_card_that_works_is_enough() -> None:
    assert mistake([Card("GTX 1060", 6.1, 580.0), Card("RTX 5090", 12.0, 580.0)], "2.13.0", "13.0", "Windows", True) is None
