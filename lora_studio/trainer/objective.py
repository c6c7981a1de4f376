"""What is minimised: the denoising loss of a batch, and the pull that keeps the model as it was without the trigger word."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lora_studio.trainer import noise as diffusion
from lora_studio.trainer.data import Dataset, Draw, LatentCache
from lora_studio.trainer.models import BaseModel
from lora_studio.trainer.network import Network
from lora_studio.trainer.sampling import autocast
from lora_studio.trainer.seeds import tensor_generator
from lora_studio.trainer.text import Conditioning, concat, encode_prompts, predict, size_ids
from lora_studio.training.config import TrainingConfig

#: texts whose encoding is kept while the text encoder does not change
CACHED_TEXTS = 4096


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
        self._frozen_text = "text" not in network.flat
        self._encoded: dict[tuple[str, int], Conditioning] = {}

    def loss(self, draws: Sequence[Draw], epoch: int, number: int, *, preserve: bool) -> torch.Tensor:
        """Scalar loss; `preserve` adds the preservation term (twice the work and a pass of the base model)."""
        model, config = self.model, self.config
        generator = tensor_generator(config.seed, "noise", epoch, number)
        latents = self.latents.batch(draws, generator) * model.vae.config.scaling_factor
        noise = torch.randn(latents.shape, generator=generator)
        if config.noise_offset:
            noise += config.noise_offset * torch.randn(len(draws), latents.shape[1], 1, 1, generator=generator)
        if config.multires_noise_iterations:
            noise = diffusion.pyramid_noise(noise, config.multires_noise_iterations, config.multires_noise_discount, generator)
        shown = noise
        if config.ip_noise_gamma:  # input perturbation (arXiv 2301.11706): the target stays the noise itself
            shown = noise + config.ip_noise_gamma * torch.randn(noise.shape, generator=generator)
        steps = torch.randint(0, len(model.alphas_cumprod), (len(draws),), generator=generator)
        latents, noise, shown, steps = (t.to(model.device, non_blocking=True) for t in (latents, noise, shown, steps))
        alphas = self.alphas[steps]
        noisy = diffusion.add_noise(latents, shown, alphas).to(model.dtype)
        target = diffusion.target(latents, noise, alphas, model.prediction)
        sizes = self._sizes(draws)
        # without the trigger in the caption there is nothing to compare with
        rows = [i for i, draw in enumerate(draws) if draw.plain_caption != draw.caption] if preserve else []
        with autocast(model):
            if not rows:
                answer = predict(model, noisy, steps, self._encode([d.caption for d in draws]), sizes)
                return self._weighted(answer, target, steps)
            pick = torch.tensor(rows, device=model.device)
            plain = [draws[i].plain_caption for i in rows]
            plain_sizes = None if sizes is None else sizes[pick]
            chunks = self._chunks([d.caption for d in draws] + plain)
            with torch.no_grad(), self.network.disabled():
                reference_text = self._encode_base(plain, chunks)
                reference = predict(model, noisy[pick], steps[pick], reference_text, plain_sizes)
            texts = self._encode([d.caption for d in draws] + plain, chunks)
            answer = predict(
                model,
                torch.cat([noisy, noisy[pick]]),
                torch.cat([steps, steps[pick]]),
                texts,
                None if sizes is None else torch.cat([sizes, sizes[pick]]),
            )
        learned = self._weighted(answer[: len(draws)], target, steps)
        kept = self._weighted(answer[len(draws) :], reference.float(), steps[pick])
        return learned + config.prior_weight * kept * (len(rows) / len(draws))

    def _weighted(self, answer: torch.Tensor, target: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        width = None if self.widths is None else self.widths[steps]
        each = diffusion.elementwise_loss(answer.float(), target, self.config.loss_type, width).mean(dim=(1, 2, 3))
        return (each * self.weights[steps]).mean()

    def _chunks(self, texts: Sequence[str]) -> int:
        tokenizer, limit = self.model.tokenizers[0], self.model.max_tokens
        return max(len(tokenizer.chunks(text, limit)) for text in texts)

    def _encode(self, texts: Sequence[str], chunks: int | None = None) -> Conditioning:
        if not self._frozen_text:
            return encode_prompts(self.model, texts, chunks)
        return self._encode_cached(texts, chunks or self._chunks(texts))

    def _encode_base(self, texts: Sequence[str], chunks: int) -> Conditioning:
        return self._encode_cached(texts, chunks)

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

    def _sizes(self, draws: Sequence[Draw]) -> torch.Tensor | None:
        if self.model.family != "sdxl":
            return None
        rows = []
        for draw in draws:
            example = self.dataset.examples[draw.example]
            left, top = example.crop
            rows.append((example.height, example.width, top, left, example.bucket[1], example.bucket[0]))
        return size_ids(rows, self.model.device)
