"""An AMD card that looks like an NVIDIA one (ZLUDA): what it has no counterpart for is switched off, as the WebUI's AMD fork does."""

from __future__ import annotations

import torch


def settle(device: torch.device) -> bool:
    """Whether this device is one; it then computes convolutions without cuDNN and attention by plain mathematics."""
    if device.type != "cuda" or not torch.cuda.get_device_name(device).endswith("[ZLUDA]"):
        return False
    torch.backends.cudnn.enabled = False
    for name, wanted in (("flash", False), ("mem_efficient", False), ("cudnn", False), ("math", True)):
        enable = getattr(torch.backends.cuda, f"enable_{name}_sdp", None)
        if enable is not None:  # cudnn's came with torch 2.5
            enable(wanted)
    return True
