"""Step 6: the UNet and, gently, the text encoder, on the whitened latents."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel

from lora_studio.trainer import noise

from .parallel import Average, Budget, average_gradients, decay, launch
from .pictures import load_scenes
from .text import WIDTH, encoder_for_training, load_plain, plain_encoder

BATCH = 12
HELD_OUT = 200
PREDICTION = "prediction.txt"
MIN_SNR = 5.0


def make_unet() -> UNet2DConditionModel:
    """SD1.5's block topology, hence its LoRA key names, at 64 channels; silent at the start."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        layers_per_block=2,
        block_out_channels=(64, 64, 64, 64),
        down_block_types=(*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
        up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
        cross_attention_dim=WIDTH,
        attention_head_dim=2,  # diffusers' name for the number of heads in this family
        norm_num_groups=32,
    )
    with torch.no_grad():
        unet.conv_out.weight.zero_()
        unet.conv_out.bias.zero_()
        for name, p in unet.named_parameters():
            if name.endswith("conv2.weight") or "proj_out.weight" in name:
                p.mul_(0.1)
    return unet.to(memory_format=torch.channels_last)


def _train(rank: int, work: Path, steps: int, minutes: float, further: bool, prediction: str) -> None:
    unet = make_unet()
    encoder, embedding, captions = encoder_for_training()
    encoder.load_state_dict(torch.load(work / "text_pretrained.pt", weights_only=True))
    before, same = 0, True
    if further:
        unet.load_state_dict(UNet2DConditionModel.from_pretrained(work / "unet").state_dict())
        stored = CLIPTextModel.from_pretrained(work / "text_encoder")
        load_plain(encoder, embedding, stored)
        before = int((work / "unet_steps.txt").read_text(encoding="utf-8"))
        same = prediction_of(work) == prediction
    peak, hold = (1e-3, 0.1) if further and same else (1.5e-3, 0.5)
    latents = torch.from_numpy(np.load(work / "latents.npy"))
    scenes, alphas = load_scenes(work), noise.alphas_cumprod()
    weights = noise.min_snr_weights(alphas, MIN_SNR, prediction)
    image_params = list(unet.parameters())
    text_params = [p for p in encoder.parameters() if p.requires_grad]
    params = image_params + text_params
    groups = [{"params": image_params, "peak": peak}, {"params": text_params, "peak": 2e-4}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), weight_decay=0, fused=True)
    average, budget = Average(params, 0.997), Budget(steps, minutes)
    rng = random.Random(100 + rank)
    torch.manual_seed(10 + rank)
    losses: list[float] = []

    def save() -> None:
        now = [p.detach().clone() for p in params]
        average.apply()
        unet.save_pretrained(work / "unet")
        plain_encoder(encoder, embedding).save_pretrained(work / "text_encoder")
        (work / PREDICTION).write_text(prediction, encoding="utf-8")
        (work / "unet_steps.txt").write_text(str(before + budget.done), encoding="utf-8")
        with torch.no_grad():
            for p, value in zip(params, now):
                p.copy_(value)

    while (f := budget.fraction()) < 1:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * decay(f, budget.done, 60, hold)
        ix = [rng.randrange(HELD_OUT, len(latents)) for _ in range(BATCH)]
        x = latents[ix].contiguous(memory_format=torch.channels_last)
        ids = torch.tensor([captions.sample(scenes[k], rng)[0] for k in ix])
        # Stratified timesteps: one from each twelfth of the schedule lowers the variance of the gradient.
        t = ((torch.arange(BATCH) + torch.rand(BATCH)) / BATCH * 1000).long().clamp(0, 999)
        epsilon = torch.randn_like(x)
        guess = unet(noise.add_noise(x, epsilon, alphas[t]), t, encoder(ids).last_hidden_state).sample
        loss = ((guess - noise.target(x, epsilon, alphas[t], prediction)).square().mean((1, 2, 3)) * weights[t]).mean()
        loss.backward()
        average_gradients(params)
        optimizer.step()
        optimizer.zero_grad()
        average.update()
        budget.done += 1
        losses.append(loss.item())
        if rank == 0 and budget.done % 50 == 0:
            print(f"unet {budget.done} {f:.3f} loss {np.mean(losses[-50:]):.4f}", flush=True)
        if rank == 0 and budget.done % 300 == 0:
            save()
    if rank == 0:
        save()


def train(work: Path, processes: int, steps: int, minutes: float, further: bool = False, prediction: str = "epsilon") -> None:
    """Train on ``latents.npy``; writes ``unet/`` and ``text_encoder/`` every 300 steps and at the end.

    ``further`` starts from what is there: more steps at a lower learning rate, down to nothing again; at the full one where what is there
    predicts something else. ``prediction``: ``epsilon`` or ``v_prediction``.
    """
    launch(_train, processes, work, steps, minutes, further, prediction)


def prediction_of(work: Path) -> str:
    """What the UNet in a work folder predicts."""
    path = work / PREDICTION
    return path.read_text(encoding="utf-8") if path.is_file() else "epsilon"
