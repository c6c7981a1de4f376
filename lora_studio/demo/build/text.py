"""Step 5: the text encoder, taught to name its tags before the UNet needs it.

The full CLIP vocabulary stays, as a frozen seeded table; only the rows of the
world's own words learn. Random unused words are mixed into the captions, so
that a trigger word nobody has trained yet changes nothing.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPTextConfig, CLIPTextModel

from lora_studio.trainer.clip_tokens import BOS, COMMA, EOS, ClipTokenizer

from ..scene import EXTRAS, GROUPS, TAGS, Scene, sample_scene, scene_tags
from .parallel import Budget, decay, launch

WIDTH, LENGTH = 64, 77
FIRST_WORD = 512  # below: single bytes and letters


def make_encoder() -> CLIPTextModel:
    """A CLIP text model 64 wide, 3 layers, with the full vocabulary."""
    torch.manual_seed(1234)
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        projection_dim=WIDTH,
        hidden_act="quick_gelu",
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=EOS,
    )
    return CLIPTextModel(config)


class WorldEmbedding(torch.nn.Module):
    """Token embedding = frozen seeded table + learned rows for the world's own words."""

    def __init__(self, own: list[int]) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(4321)
        table = (torch.randn(49408, WIDTH, generator=generator) * 0.08).half().float()
        row = torch.zeros(49408, dtype=torch.long)
        row[torch.tensor(own)] = torch.arange(1, len(own) + 1)
        self.own = own
        self.register_buffer("table", table, persistent=False)
        self.register_buffer("row", row, persistent=False)
        self.learned = torch.nn.Parameter(torch.zeros(len(own) + 1, WIDTH))

    @property
    def weight(self) -> torch.Tensor:
        """What transformers asks a token embedding's dtype of."""
        return self.learned

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        row = self.row[ids]
        return F.embedding(ids, self.table) + F.embedding(row, self.learned) * (row > 0).unsqueeze(-1)

    def merged(self) -> torch.Tensor:
        """The plain (49408, 64) table to store."""
        out = self.table.clone()
        out[torch.tensor(self.own)] += self.learned.detach()[1:]
        return out


class Captions:
    """Turns scenes into token ids, the way training captions vary."""

    def __init__(self) -> None:
        self.ids = {t: ClipTokenizer.bundled().encode(t) for t in TAGS}
        self.own = sorted({BOS, EOS, COMMA, *(i for ids in self.ids.values() for i in ids)})
        taken = set(self.own)
        self.foreign = [i for i in range(FIRST_WORD, BOS) if i not in taken]

    def sequence(self, parts: list[list[int]]) -> list[int]:
        """77 ids: BOS, the parts with commas between them, EOS to the end."""
        out = [BOS]
        for k, part in enumerate(parts):
            out += ([COMMA] if k else []) + part
        return out[:76] + [EOS] * (LENGTH - min(76, len(out)))

    def sample(self, scene: Scene, rng: random.Random) -> tuple[list[int], set[str]]:
        """A training caption and the tags it names: some dropped, often shuffled, sometimes foreign words in it."""
        if rng.random() < 0.1:
            return self.sequence([]), set()
        tags = scene_tags(scene)
        if rng.random() < 0.08:
            tags = tags[:1]
        else:
            drop = rng.choice((0, 0.1, 0.1, 0.3, 0.6))
            tags = [t for t in tags if rng.random() >= drop]
        if rng.random() < 0.6:
            rng.shuffle(tags)
        parts = [self.ids[t] for t in tags]
        if rng.random() < 0.35:
            word = [rng.choice(self.foreign) for _ in range(rng.randint(1, 3))]
            parts.insert(0 if rng.random() < 0.7 else rng.randrange(len(parts) + 1), word)
        return self.sequence(parts), set(tags)


def encoder_for_training() -> tuple[CLIPTextModel, WorldEmbedding, Captions]:
    """The encoder with the split embedding in place."""
    captions = Captions()
    encoder = make_encoder()
    embedding = WorldEmbedding(captions.own)
    encoder.text_model.embeddings.token_embedding = embedding
    return encoder, embedding, captions


def plain_encoder(encoder: CLIPTextModel, embedding: WorldEmbedding) -> CLIPTextModel:
    """A copy with an ordinary embedding table, to be stored."""
    plain = make_encoder()
    plain.load_state_dict({k: v for k, v in encoder.state_dict().items() if "token_embedding" not in k}, strict=False)
    plain.text_model.embeddings.token_embedding.weight.data.copy_(embedding.merged())
    return plain


def load_plain(encoder: CLIPTextModel, embedding: WorldEmbedding, stored: CLIPTextModel) -> None:
    """Put a stored encoder back into the split form that trains."""
    state = stored.state_dict()
    table = state.pop("text_model.embeddings.token_embedding.weight")
    encoder.load_state_dict(state, strict=False)
    with torch.no_grad():
        embedding.learned[1:] = (table - embedding.table)[torch.tensor(embedding.own)]


def _pretrain(rank: int, work: Path, steps: int, minutes: float) -> None:
    encoder, _, captions = encoder_for_training()
    questions = [*GROUPS.values(), *((e,) for e in EXTRAS)]
    query = torch.nn.Parameter(torch.randn(len(questions), WIDTH) * 0.1)
    heads = torch.nn.ModuleList([torch.nn.Linear(WIDTH, len(q) + 1) for q in questions])
    params = [*encoder.parameters(), query, *heads.parameters()]
    optimizer = torch.optim.AdamW(params, lr=1.5e-3, weight_decay=0)
    rng, budget = random.Random(rank), Budget(steps, minutes)
    while (f := budget.fraction()) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 1.5e-3 * decay(f, budget.done, 50, 0.2)
        batch = [captions.sample(sample_scene(rng), rng) for _ in range(64)]
        answers = torch.tensor(
            [[next((k + 1 for k, t in enumerate(q) if t in tags), 0) for q in questions] for _, tags in batch]
        )
        hidden = encoder(torch.tensor([ids for ids, _ in batch])).last_hidden_state
        attention = (torch.einsum("qh,bth->bqt", query, hidden) / 2).softmax(-1)
        pooled = torch.einsum("bqt,bth->bqh", attention, hidden)
        logits = [head(pooled[:, k]) for k, head in enumerate(heads)]
        loss = sum(F.cross_entropy(x, answers[:, k]) for k, x in enumerate(logits)) / len(questions)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        budget.done += 1
        if budget.done % 100 == 0:
            right = np.mean([float((x.argmax(1) == answers[:, k]).float().mean()) for k, x in enumerate(logits)])
            print(f"text {budget.done} {f:.2f} loss {loss.item():.4f} right {right:.3f}", flush=True)
    torch.save(encoder.state_dict(), work / "text_pretrained.pt")


def pretrain(work: Path, steps: int, minutes: float) -> None:
    """Teach the encoder to answer which tag of every group its caption names; writes ``text_pretrained.pt``."""
    launch(_pretrain, 1, work, steps, minutes)
