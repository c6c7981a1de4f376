"""The VAE in tiles: slower and with a trace of a seam, in a fraction of the memory. For what does not fit otherwise."""

from __future__ import annotations

from typing import Any

#: side of a tile in pixels: an SDXL picture is four of them. (diffusers' own is the model's whole size, which would be no tiling.)
SIDE = 512


def in_tiles(vae: Any) -> bool:
    """Whether it works in tiles already, or cannot."""
    return bool(getattr(vae, "use_tiling", True))


def use_tiles(vae: Any) -> None:
    """From now on encode and decode everything larger than a tile in tiles."""
    vae.enable_tiling()
    vae.tile_sample_min_size = min(int(vae.tile_sample_min_size), SIDE)
    vae.tile_latent_min_size = vae.tile_sample_min_size // 2 ** (len(vae.config.block_out_channels) - 1)
