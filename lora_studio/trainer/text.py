"""Captions and prompts to what the UNet is conditioned on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lora_studio.trainer.compiled import new_step
from lora_studio.trainer.models import BaseModel


@dataclass
class Conditioning:
    """`hidden` (batch, 77 * chunks, width); `pooled` (batch, 1280) for SDXL, otherwise None."""

    hidden: torch.Tensor
    pooled: torch.Tensor | None = None

    def __getitem__(self, rows: slice) -> Conditioning:
        return Conditioning(self.hidden[rows], None if self.pooled is None else self.pooled[rows])


def concat(parts: Sequence[Conditioning]) -> Conditioning:
    """Join along the batch; all parts must have the same number of chunks."""
    pooled = [p.pooled for p in parts if p.pooled is not None]
    return Conditioning(torch.cat([p.hidden for p in parts]), torch.cat(pooled) if pooled else None)


Rows = tuple[torch.Tensor, torch.Tensor | None]


def token_rows(model: BaseModel, texts: Sequence[str], encoder: int, chunks: int | None = None, *, emphasis: bool = False) -> Rows:
    """Token ids (batch, chunks, 77) on the model's device; shorter texts are filled with empty chunks as in the WebUI.

    emphasis: brackets weigh words instead of being words; the weights come second, None where all are 1.
    """
    tokenizer = model.tokenizers[encoder]
    pairs = [tokenizer.weighted_chunks(t, model.max_tokens) if emphasis else (tokenizer.chunks(t, model.max_tokens), []) for t in texts]
    count = max(chunks or 1, max(len(rows) for rows, _ in pairs))
    filled = [rows + [tokenizer.empty_chunk()] * (count - len(rows)) for rows, _ in pairs]
    ids = torch.tensor(filled, dtype=torch.long, device=model.device)
    if not any(w != 1.0 for _, weights in pairs for row in weights for w in row):
        return ids, None
    padded = [weights + [[1.0] * ids.shape[-1]] * (count - len(weights)) for _, weights in pairs]
    return ids, torch.tensor(padded, device=model.device)


def _weighed(hidden: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Each token's encoding times its weight, with the mean of each chunk kept as it was (the WebUI's "original" emphasis)."""
    if weights is None:
        return hidden
    flat = weights.flatten(0, 1)[:, :, None].to(hidden.dtype)
    scaled = hidden * flat
    ratio = hidden.mean(dim=(1, 2), keepdim=True) / scaled.mean(dim=(1, 2), keepdim=True)
    plain = (flat == 1.0).all(dim=1, keepdim=True) | ~torch.isfinite(ratio)
    return torch.where(plain, hidden, scaled * ratio)


def encode_prompts(model: BaseModel, texts: Sequence[str], chunks: int | None = None, *, emphasis: bool = False) -> Conditioning:
    """Encode texts of any length up to `model.max_tokens`, 75 tokens a chunk; gradients flow if they are enabled.

    `model.clip_skip` N > 1 takes the N-th last layer with the final norm (SD1, SD2). SDXL always takes the second
    last layer of both encoders without the norm, and the pooled output of the first chunk. `emphasis` is for prompts:
    captions are taken by the word.
    """
    hidden_parts: list[torch.Tensor] = []
    pooled: torch.Tensor | None = None
    for index, encoder in enumerate(model.text_encoders):
        ids, weights = token_rows(model, texts, index, chunks, emphasis=emphasis)
        batch, count, length = ids.shape
        need_states = model.family == "sdxl" or model.clip_skip > 1
        output: Any = encoder(input_ids=ids.view(batch * count, length), output_hidden_states=need_states)
        if model.family == "sdxl":
            hidden = output.hidden_states[-2]
            if index == 1:
                pooled = output.text_embeds.view(batch, count, -1)[:, 0]
        elif model.clip_skip > 1:
            hidden = encoder.text_model.final_layer_norm(output.hidden_states[-model.clip_skip])
        else:
            hidden = output.last_hidden_state
        hidden_parts.append(_weighed(hidden, weights).reshape(batch, count * length, -1))
    joined = hidden_parts[0] if len(hidden_parts) == 1 else torch.cat(hidden_parts, dim=-1)
    return Conditioning(joined, pooled)


def size_ids(sizes: Sequence[tuple[int, int, int, int, int, int]], device: torch.device) -> torch.Tensor:
    """SDXL's picture facts (batch, 6): original height, width, crop top, left, target height, width."""
    return torch.tensor(sizes, dtype=torch.float32, device=device)


def predict(
    model: BaseModel, latents: torch.Tensor, timesteps: torch.Tensor, text: Conditioning, sizes: torch.Tensor | None = None
) -> torch.Tensor:
    """The UNet's answer (batch, 4, h, w); `sizes` from `size_ids`, needed by SDXL only."""
    extra: dict[str, Any] = {}
    if model.family == "sdxl":
        if sizes is None:  # the whole picture, uncropped, at the size that is drawn
            height, width = latents.shape[-2] * 8, latents.shape[-1] * 8
            sizes = size_ids([(height, width, 0, 0, height, width)] * len(latents), latents.device)
        extra["added_cond_kwargs"] = {"text_embeds": text.pooled, "time_ids": sizes}
    if model.graphs:
        new_step()
    answer: torch.Tensor = model.unet(latents, timesteps, encoder_hidden_states=text.hidden, return_dict=False, **extra)[0]
    return answer
