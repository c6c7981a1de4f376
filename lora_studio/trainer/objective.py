"""What is minimised: the denoising loss of a batch, and the pull that keeps the model as it was without the trigger word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from lora_studio.trainer import noise as diffusion
from lora_studio.trainer.clip_tokens import CHUNK
from lora_studio.trainer.data import ALL, Dataset, Draw, LatentCache
from lora_studio.trainer.models import BaseModel
from lora_studio.trainer.network import Network
from lora_studio.trainer.sampling import autocast
from lora_studio.trainer.seeds import seed_of, tensor_generator
from lora_studio.trainer.text import Conditioning, concat, encode_prompts, predict, size_ids
from lora_studio.training.config import TrainingConfig

#: texts whose encoding is kept while the text encoder does not change
CACHED_TEXTS = 4096


@dataclass(frozen=True)
class Noised:
    """A batch, or a part of it, ready for the model. `whole` is the number of pictures in the whole batch."""

    draws: list[Draw]
    noisy: torch.Tensor
    target: torch.Tensor
    steps: torch.Tensor
    weights: torch.Tensor
    sizes: torch.Tensor | None
    masks: torch.Tensor | None
    chunks: int
    whole: int
    seed: int

    def __len__(self) -> int:
        return len(self.draws)

    def __getitem__(self, rows: slice) -> Noised:
        if rows == slice(0, len(self.draws)):
            return self
        tensors = {name: getattr(self, name)[rows] for name in ("noisy", "target", "steps", "weights")}
        rest = {name: None if (value := getattr(self, name)) is None else value[rows] for name in ("sizes", "masks")}
        return replace(self, draws=self.draws[rows], seed=self.seed + (rows.start or 0), **tensors, **rest)


class Objective:
    """Loss of one batch. All draws depend on the seed, the epoch and the batch's number only."""

    def __init__(
        self, model: BaseModel, network: Network, dataset: Dataset, latents: LatentCache, config: TrainingConfig
    ) -> None:
        self.model = model
        self.network = network
        self.dataset = dataset
        self.latents = latents
        self.config = config
        # as in sd-scripts, weights go by the levels before the last is made pure noise
        self.weights = diffusion.loss_weights(
            model.alphas_cumprod,
            model.prediction,
            min_snr_gamma=config.min_snr_gamma,
            debiased=config.debiased_estimation,
            scale_v=config.scale_v_pred_loss,
        )
        self.widths = (
            None
            if config.loss_type == "l2"
            else diffusion.huber_width(model.alphas_cumprod.cpu(), config.huber_schedule, config.huber_c).to(model.device)
        )
        self.alphas = model.alphas_cumprod
        if config.zero_terminal_snr and float(self.alphas[-1]) > 0.0:
            self.alphas = diffusion.zero_terminal_snr(self.alphas.cpu()).to(model.device)
        self._frozen_text = not network.has("text")
        self._encoded: dict[tuple[str, int], Conditioning] = {}

    def draw(self, draws: Sequence[Draw], epoch: int, number: int, rows: slice = ALL) -> Noised:
        """Noise for a batch, on the device. Of the whole batch's numbers those of `rows`, whoever computes the others."""
        model, config = self.model, self.config
        generator = tensor_generator(config.seed, "noise", epoch, number)
        latents = self.latents.batch(draws, generator, rows) * model.vae.config.scaling_factor
        noise = torch.randn((len(draws), *latents.shape[1:]), generator=generator)
        if config.noise_offset:
            noise += config.noise_offset * torch.randn(len(draws), latents.shape[1], 1, 1, generator=generator)
        if config.multires_noise_iterations:
            noise = diffusion.pyramid_noise(noise, config.multires_noise_iterations, config.multires_noise_discount, generator)
        shown = noise
        if config.ip_noise_gamma:  # input perturbation (arXiv 2301.11706): the target stays the noise itself
            shown = noise + config.ip_noise_gamma * torch.randn(noise.shape, generator=generator)
        steps = torch.randint(0, len(model.alphas_cumprod), (len(draws),), generator=generator)
        noise, shown, steps, own = noise[rows], shown[rows], steps[rows], list(draws[rows])
        regular = torch.tensor([config.prior_loss_weight if self.dataset.examples[d.example].is_reg else 1.0 for d in own])
        masks = self.latents.masks(own, (latents.shape[-2], latents.shape[-1])) if config.masked_loss else None
        latents, noise, shown, steps, regular = (on(model.device, t) for t in (latents, noise, shown, steps, regular))
        alphas = self.alphas[steps]
        return Noised(
            draws=own,
            noisy=diffusion.add_noise(latents, shown, alphas).to(model.dtype),
            target=diffusion.target(latents, noise, alphas, model.prediction),
            steps=steps,
            weights=self.weights[steps] * regular,
            sizes=picture_facts(model, self.dataset, own),
            masks=None if masks is None else masks.to(model.device),
            # all parts of a batch see texts of one length, so that splitting it changes nothing
            chunks=self._chunks([d.caption for d in draws]),
            whole=len(draws),
            seed=seed_of(config.seed, "dropout", epoch, number, rows.start or 0),
        )

    def loss(self, part: Noised, *, preserve: bool) -> torch.Tensor:
        """This part's summand of the batch's mean loss; `preserve` adds the preservation term (twice the work and a pass of the base model)."""
        model, draws, noisy, steps = self.model, part.draws, part.noisy, part.steps
        if self.network.dropout.any:
            torch.manual_seed(part.seed)
        # without the trigger in the caption there is nothing to compare with
        rows = [i for i, draw in enumerate(draws) if draw.plain_caption != draw.caption] if preserve else []
        with autocast(model):
            if not rows:
                answer = predict(model, noisy, steps, self._encode([d.caption for d in draws], part.chunks), part.sizes)
                return self._summed(answer, part.target, steps, part.weights, part.masks) / part.whole
            pick = torch.tensor(rows, device=model.device)
            plain = [draws[i].plain_caption for i in rows]
            sizes = part.sizes
            with torch.no_grad(), self.network.disabled():
                reference_text = self._encode_cached(plain, part.chunks)
                reference = predict(model, noisy[pick], steps[pick], reference_text, None if sizes is None else sizes[pick])
            answer = predict(
                model,
                torch.cat([noisy, noisy[pick]]),
                torch.cat([steps, steps[pick]]),
                self._encode([d.caption for d in draws] + plain, part.chunks),
                None if sizes is None else torch.cat([sizes, sizes[pick]]),
            )
        learned = self._summed(answer[: len(draws)], part.target, steps, part.weights, part.masks)
        kept = self._summed(answer[len(draws) :], reference.float(), steps[pick], self.weights[steps[pick]], None)
        return (learned + self.config.prior_weight * kept) / part.whole

    def _summed(
        self, answer: torch.Tensor, target: torch.Tensor, steps: torch.Tensor, weights: torch.Tensor, masks: torch.Tensor | None
    ) -> torch.Tensor:
        width = None if self.widths is None else self.widths[steps]
        each = diffusion.elementwise_loss(answer.float(), target, self.config.loss_type, width)
        if masks is not None:
            each = each * masks
        return (each.mean(dim=(1, 2, 3)) * weights).sum()

    def _chunks(self, texts: Sequence[str]) -> int:
        tokenizer, limit = self.model.tokenizers[0], self.model.max_tokens
        return 1 if limit <= CHUNK else max(len(tokenizer.chunks(text, limit)) for text in texts)

    def _encode(self, texts: Sequence[str], chunks: int) -> Conditioning:
        return self._encode_cached(texts, chunks) if self._frozen_text else encode_prompts(self.model, texts, chunks)

    def _encode_cached(self, texts: Sequence[str], chunks: int) -> Conditioning:
        """Encodings of the text encoder as it is in the base model, which never change."""
        parts = []
        for text in texts:
            key = (text, chunks)
            if key not in self._encoded:
                if len(self._encoded) >= CACHED_TEXTS:
                    self._encoded.clear()
                with torch.no_grad():
                    self._encoded[key] = encode_prompts(self.model, [text], chunks)
            parts.append(self._encoded[key])
        return concat(parts)


def on(device: torch.device, tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of the processor's on a device. Only CUDA may still be copying when this returns, and only from memory pinned for that:
    elsewhere, and from other memory, what is copied may be gone before it is read (pytorch 139550, 189690).
    """
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def picture_facts(model: BaseModel, dataset: Dataset, draws: Sequence[Draw]) -> torch.Tensor | None:
    """What SDXL is told of each picture: its size, crop and target; None for the other families."""
    if model.family != "sdxl":
        return None
    rows = []
    for draw in draws:
        example = dataset.examples[draw.example]
        left, top = example.crop
        rows.append((example.height, example.width, top, left, example.bucket[1], example.bucket[0]))
    return size_ids(rows, model.device)
