"""The training options as a form shows them: groups in order, short names, and when to change each, in English and Chinese.

What an option does is said in ``options.HELP``, what it accepts in ``options.CHOICES`` and ``RANGES``, its kind and default in
``config.TrainingConfig``: ``schema`` puts all of it together, so that a new option needs one line here.
"""

from __future__ import annotations

import dataclasses
import math
from functools import lru_cache
from typing import Any, get_type_hints

from ..cards import Card
from .config import TrainingConfig
from .options import CHOICES, HELP, RANGES

#: what the project and the host decide, not a field of the form
NOT_IN_FORM = ("base", "folders", "output_dir", "lora_dir")
#: what belongs to the folders of pictures and is one field each in the form: kind, default, limits, what it does
OF_FOLDERS: dict[str, tuple[str, Any, tuple[float, float], tuple[str, str]]] = {
    "repeats": ("int", None, RANGES["repeats"], ("How often each picture comes in one epoch.", "每张图片在一轮中出现的次数。")),
    "mask_dir": (
        "text", "", (-math.inf, math.inf),
        ("Folder of masks for masked training: for each picture one of the same name, white where to learn.",
         "遮罩训练用的遮罩文件夹：每张图片对应一张同名遮罩，白色部分参与学习。"),
    ),
    "reg_dir": (
        "text", "", (-math.inf, math.inf),
        ("Folder of regularisation pictures: others of the same kind, with captions without the trigger word.",
         "正则化图片文件夹：同类的其他图片，标签中不含触发词。"),
    ),
    "reg_repeats": ("int", 1, RANGES["repeats"], ("How often each regularisation picture comes in one epoch.", "每张正则化图片在一轮中出现的次数。")),
}  # fmt: skip

GROUPS: dict[str, tuple[str, str]] = {
    "names": ("Names", "名称"),
    "basics": ("Basics", "基本"),
    "captions": ("Pictures and captions", "图片与标签"),
    "length": ("Length and saving", "时长与保存"),
    "network": ("Network", "网络"),
    "learning": ("Optimizer and schedule", "优化器与调度"),
    "loss": ("Noise and loss", "噪声与损失"),
    "keeping": ("Keeping the base as it is", "保持底模"),
    "base": ("Base model", "底模"),
    "samples": ("Samples", "样图"),
    "machine": ("Machine", "机器"),
    "more": ("More", "其他"),
}

UNITS: dict[str, str] = {
    "resolution": "px", "bucket_min": "px", "bucket_max": "px", "bucket_step": "px", "max_steps": "steps", "max_tokens": "tokens",
    "state_every_minutes": "min",
}

# group -> option -> (name, name in Chinese, when to change it, the same in Chinese)
FIELDS: dict[str, dict[str, tuple[str, str, str, str]]] = {
    "names": {
        "trigger": (
            "Trigger word", "触发词",
            "Change it when the word is a common one: a made-up word means nothing to the base model yet.",
            "若是常见词请改掉：生造的词在底模里还没有含义。",
        ),
        "output_name": (
            "LoRA name", "LoRA 名称",
            "Change it to keep another try of the same project apart.", "同一项目再训一次又想分开保存时修改。",
        ),
    },
    "basics": {
        "epochs": (
            "Epochs", "轮次",
            "More when the last epoch still looks unlike the character, fewer when all late ones look burnt.",
            "最后一轮仍不像角色时增加；后面几轮都过拟合时减少。",
        ),
        "repeats": (
            "Repeats", "重复次数",
            "Set from the number of pictures; raise it for few pictures, lower it when one epoch takes too long.",
            "按图片数量自动设定；图片少时调高，一轮太久时调低。",
        ),
        "resolution": (
            "Resolution", "分辨率",
            "Lower it when memory is short; above the base model's own size only for very sharp pictures.",
            "显存不足时调低；图片非常清晰时才高于底模的原生尺寸。",
        ),
        "batch_size": (
            "Batch size", "批大小",
            "Lower it when memory is short; when you double it, raise the learning rates by about 1.4.",
            "显存不足时调低；翻倍时学习率约乘 1.4。",
        ),
        "network_dim": (
            "Rank (dim)", "秩（dim）",
            "Raise it when fine details do not come, for styles too; lower it for smaller files and less burning.",
            "细节学不到或训练画风时调高；想要更小的文件、更少过拟合时调低。",
        ),
        "network_alpha": (
            "Alpha", "Alpha",
            "Equal to the rank doubles the strength of each step: then lower the learning rates.",
            "等于秩时每步力度加倍：请同时调低学习率。",
        ),
        "unet_lr": (
            "Learning rate, UNet", "UNet 学习率",
            "Halve it when pictures burn or turn to noise; double it when nothing is learned after half of the run.",
            "画面过拟合或变成噪点时减半；过半仍学不到时加倍。",
        ),
        "text_lr": (
            "Learning rate, text encoder", "文本编码器学习率",
            "Lower it when other tags stop working; 0 for SDXL bases that forget their tags.",
            "其他标签失灵时调低；SDXL 底模若忘记标签可设为 0。",
        ),
    },
    "captions": {
        "shuffle_captions": (
            "Shuffle tags", "打乱标签",
            "Turn it off for captions in whole sentences.", "标签是完整句子时关闭。",
        ),
        "keep_tokens": (
            "Keep in front", "固定前几个标签",
            "2 when two words (a name and a series) come first in every caption, 0 without a trigger word.",
            "每条标签都以两个词（角色与作品）开头时用 2，没有触发词时用 0。",
        ),
        "caption_dropout": (
            "Caption dropout", "标签丢弃率",
            "0.05 to 0.1 for styles, so that the style comes without being asked for.", "画风用 0.05 到 0.1，使其无需提示也能出现。",
        ),
        "tag_dropout": (
            "Tag dropout", "单个标签丢弃率",
            "0.1 to 0.2 when the trigger alone does not bring the character.", "仅用触发词召唤不出角色时用 0.1 到 0.2。",
        ),
        "caption_dropout_every_n_epochs": (
            "Whole epochs without captions", "整轮不带标签",
            "For styles; 5 or more, when the dropout rate is not enough.", "训练画风且丢弃率不够时用，取 5 以上。",
        ),
        "token_warmup_step": (
            "Tag warm-up", "标签预热",
            "0.3 when the trigger word stays weak beside long captions.", "标签很长、触发词偏弱时用 0.3。",
        ),
        "token_warmup_min": (
            "Tags at first", "预热起始标签数",
            "Change it only together with the tag warm-up.", "仅与标签预热一起修改。",
        ),
        "masked_loss": (
            "Masked training", "遮罩训练",
            "Turn it on when backgrounds or other people would be learned and cannot be cropped away.", "背景或旁人会被学进去又裁不掉时开启。",
        ),
        "mask_dir": (
            "Folder of masks", "遮罩文件夹",
            "Set it together with masked training; left empty, the pictures' own transparency is the mask.",
            "与遮罩训练一起设置；留空则以图片自身的透明度为遮罩。",
        ),
        "flip": (
            "Mirror", "左右翻转",
            "Turn it on with very few pictures and a symmetric subject.", "图片很少且主体左右对称时开启。",
        ),
        "buckets": (
            "Buckets", "分桶",
            "Turn it off when all pictures were cropped to one size.", "所有图片已裁成同一尺寸时可关闭。",
        ),
        "bucket_min": (
            "Smallest bucket side", "分桶最短边",
            "Lower it for very long or very wide pictures.", "图片特别长或特别宽时调低。",
        ),
        "bucket_max": (
            "Largest bucket side", "分桶最长边",
            "Raise it for panoramas and long comics.", "全景图或长条漫画时调高。",
        ),
        "bucket_step": (
            "Bucket step", "分桶步进",
            "Leave it at 64; 32 crops a little less and makes more buckets.", "保持 64；32 裁得更少但桶更多。",
        ),
        "bucket_no_upscale": (
            "No enlarging", "不放大",
            "Turn it on when many pictures are smaller than the resolution.", "许多图片小于训练分辨率时开启。",
        ),
    },
    "length": {
        "max_steps": (
            "Steps at most", "步数上限",
            "Set it to compare runs of equal length, whatever the number of pictures.", "想比较等长的训练（不论图片数量）时设定。",
        ),
        "save_every_epochs": (
            "Save every … epochs", "每隔几轮保存",
            "Raise it for runs of many short epochs.", "轮次多而短时调高。",
        ),
        "keep_last": (
            "Keep the last …", "只保留最后几个",
            "Set it when the disk is short; the best epoch may be an earlier one.", "磁盘不足时设定；但最佳轮次可能较早。",
        ),
        "state_every_minutes": (
            "Save state every", "每隔多久保存状态",
            "Lower it on a machine that may be switched off at any time.", "机器可能随时关机时调低。",
        ),
        "validation_split": (
            "Held-out pictures", "留出验证图片",
            "0.1 with 30 pictures or more, when you cannot tell from samples where copying begins.",
            "图片 30 张以上、从样图看不出过拟合起点时用 0.1。",
        ),
        "validate_every_n_epochs": (
            "Measure every … epochs", "每隔几轮评估",
            "Raise it when measuring takes longer than an epoch.", "评估比一轮训练还久时调高。",
        ),
        "validation_seed": (
            "Seed of the held-out ones", "验证种子",
            "Change it to hold out other pictures; keep it to compare runs.", "想换留出的图片时修改；比较多次训练时保持不变。",
        ),
    },
    "network": {
        "conv_dim": (
            "Convolution rank (LoCon)", "卷积秩（LoCon）",
            "Set it for styles and textures; characters rarely need it.", "训练画风与质感时设定；角色很少需要。",
        ),
        "conv_alpha": (
            "Convolution alpha", "卷积 Alpha",
            "Change it together with the convolution rank.", "与卷积秩一起修改。",
        ),
        "network_weights": (
            "Go on from a LoRA", "接着训练",
            "Set it to refine a LoRA that is nearly right, with half the learning rates.", "想细调已接近满意的 LoRA 时填写，学习率减半。",
        ),
        "network_dropout": (
            "Dropout", "Dropout",
            "0.1 when late epochs copy the pictures; the LoRA then wants more epochs.", "后期轮次照抄原图时用 0.1；需要相应增加轮次。",
        ),
        "rank_dropout": (
            "Rank dropout", "秩 Dropout",
            "0.1 instead of plain dropout, with ranks of 16 and more.", "秩为 16 以上时可代替普通 Dropout，用 0.1。",
        ),
        "module_dropout": (
            "Layer dropout", "层 Dropout",
            "0.1 to make the LoRA rely on no single layer.", "不希望 LoRA 依赖个别层时用 0.1。",
        ),
        "scale_weight_norms": (
            "Limit of weight norms", "权重范数上限",
            "1 when the LoRA must be used at half its weight to look right.", "权重要减半才好看时设为 1。",
        ),
    },
    "learning": {
        "optimizer": (
            "Optimizer", "优化器",
            "adamw8bit and adafactor when memory is short; prodigy when you do not want to look for a learning rate (then set both rates to 1).",
            "显存不足时用 adamw8bit 或 adafactor；不想找学习率时用 prodigy（学习率都设为 1）。",
        ),
        "optimizer_args": (
            "Optimizer arguments", "优化器参数",
            "Only when a guide for your optimizer says so.", "仅在所用优化器的教程要求时填写。",
        ),
        "scheduler": (
            "Schedule", "学习率调度",
            "constant_with_warmup for prodigy and D-Adaptation; cosine for one smooth run without restarts.",
            "prodigy 与 D-Adaptation 用 constant_with_warmup；想要无重启的平滑过程用 cosine。",
        ),
        "scheduler_cycles": (
            "Restarts", "重启次数",
            "Fewer for short runs: each restart wants some hundred steps.", "训练较短时减少：每次重启需要数百步。",
        ),
        "scheduler_power": (
            "Power", "多项式幂",
            "Above 1 falls faster at first; 1 is a straight line.", "大于 1 时前期下降更快；1 为直线。",
        ),
        "warmup": (
            "Warm-up", "预热",
            "Raise it when the loss jumps at the very beginning.", "开头损失剧烈波动时调高。",
        ),
        "gradient_accumulation": (
            "Gradient accumulation", "梯度累积",
            "Raise it to act like a larger batch when memory allows only a small one.", "显存只够小批次、又想要大批次效果时调高。",
        ),
        "weight_decay": (
            "Weight decay", "权重衰减",
            "Raise it to 0.1 against overfitting on few pictures.", "图片少、过拟合时可调到 0.1。",
        ),
        "betas": (
            "Betas", "Betas",
            "0.9, 0.99 answers faster, usual for SDXL.", "0.9, 0.99 反应更快，SDXL 常用。",
        ),
        "max_grad_norm": (
            "Gradient clipping", "梯度裁剪",
            "Lower it when single pictures make the loss jump.", "个别图片使损失跳动时调低。",
        ),
        "ema_decay": (
            "Running average (EMA)", "滑动平均（EMA）",
            "0.99 when neighbouring epochs look very different.", "相邻两轮差别很大时用 0.99。",
        ),
        "ema_save": (
            "Save the average", "保存平均值",
            "Turn it off to compare the average's curve with the last state's files.", "想用最后状态的文件作比较时关闭。",
        ),
        "down_lr_weight": (
            "Weights of the down blocks", "下行块权重",
            "Lower the outer blocks to leave composition alone.", "不想影响构图时调低外层。",
        ),
        "mid_lr_weight": (
            "Weight of the middle block", "中间块权重",
            "Lower it when poses of the pictures come back.", "总是出现原图姿势时调低。",
        ),
        "up_lr_weight": (
            "Weights of the up blocks", "上行块权重",
            "Raise the outer blocks for line and texture, in styles.", "训练画风的线条与质感时调高外层。",
        ),
    },
    "loss": {
        "min_snr_gamma": (
            "Min-SNR gamma", "Min-SNR gamma",
            "Turn it off (0) for v-prediction bases with their own weighting.", "v 预测底模已有自己的加权时设为 0。",
        ),
        "debiased_estimation": (
            "Debiased estimation", "去偏估计",
            "Try it when min-SNR leaves fine detail soft.", "使用 min-SNR 时细节偏软可以一试。",
        ),
        "loss_type": (
            "Loss", "损失类型",
            "huber when a few pictures have watermarks, text or errors you cannot remove.", "个别图片有去不掉的水印、文字或错误时用 huber。",
        ),
        "huber_schedule": (
            "Huber schedule", "Huber 调度",
            "Leave it; it matters only with huber and smooth_l1.", "保持默认；仅对 huber 与 smooth_l1 有效。",
        ),
        "huber_c": (
            "Huber threshold", "Huber 阈值",
            "Raise it towards 1 when details are not learned.", "细节学不到时向 1 调高。",
        ),
        "noise_offset": (
            "Noise offset", "噪声偏移",
            "0.03 to 0.05 when night scenes come out grey.", "夜景发灰时用 0.03 到 0.05。",
        ),
        "multires_noise_iterations": (
            "Multires noise", "多分辨率噪声",
            "Turn it off (0) when colours or contrast run away, and with v-prediction.", "颜色、对比度失控或使用 v 预测时设为 0。",
        ),
        "multires_noise_discount": (
            "Multires discount", "多分辨率衰减",
            "Lower it for a weaker effect.", "想要更弱的效果时调低。",
        ),
        "ip_noise_gamma": (
            "Input perturbation", "输入扰动",
            "0.05 when late epochs copy the pictures.", "后期轮次照抄原图时用 0.05。",
        ),
    },
    "keeping": {
        "prior_weight": (
            "Prior weight", "先验权重",
            "1 when other characters take on the trained traits; costs up to half as much time again.",
            "其他角色也带上训练特征时设为 1；耗时最多增加一半。",
        ),
        "prior_every": (
            "Prior every … steps", "每隔几步",
            "4 keeps most of the effect at a quarter of the cost.", "设为 4：保留大部分效果，代价只有四分之一。",
        ),
        "reg_dir": (
            "Regularisation pictures", "正则化图片",
            "When the trigger word takes over its whole kind (every girl becomes her); the prior weight does it without pictures.",
            "触发词吞掉整个类别（所有女孩都变成她）时设置；用先验权重则无需图片。",
        ),
        "reg_repeats": (
            "Their repeats", "正则化重复次数",
            "Leave it at 1: as many as the pictures with their repeats are taken.", "保持 1：会按训练图片（含重复）的数量取用。",
        ),
        "prior_loss_weight": (
            "Weight of regularisation", "正则化权重",
            "Lower it when regularisation pictures drown the character.", "正则化图片盖过角色时调低。",
        ),
    },
    "base": {
        "clip_skip": (
            "Clip skip", "Clip skip",
            "2 for anime SD1.5 bases, 1 for photographs; SDXL does not use it.", "动漫 SD1.5 底模用 2，写实用 1；SDXL 不使用。",
        ),
        "max_tokens": (
            "Tokens at most", "最多 token 数",
            "75 trains a little faster when all captions are short.", "所有标签都很短时用 75 略快。",
        ),
        "vae": (
            "VAE", "VAE",
            "Only for bases without a VAE of their own (AnyLoRA noVae).", "仅用于不带 VAE 的底模（如 AnyLoRA noVae）。",
        ),
        "prediction": (
            "Prediction", "预测类型",
            "Set v_prediction for a v-prediction model that is not recognised.", "v 预测模型未被识别时设为 v_prediction。",
        ),
        "scale_v_pred_loss": (
            "Scale v-pred loss", "缩放 v 预测损失",
            "On for NoobAI v-pred and its descendants.", "NoobAI v-pred 及其衍生模型开启。",
        ),
        "zero_terminal_snr": (
            "Zero terminal SNR", "零终端 SNR",
            "On for NoobAI v-pred and its descendants.", "NoobAI v-pred 及其衍生模型开启。",
        ),
    },
    "samples": {
        "sample_prompts": (
            "Prompts", "提示词",
            "One a line; add one without the trigger word to see what leaks.", "每行一条；可加一条不含触发词的，以观察泄漏。",
        ),
        "sample_every_epochs": (
            "Draw every … epochs", "每隔几轮绘制",
            "Raise it when drawing takes longer than an epoch.", "绘制比一轮训练还久时调高。",
        ),
        "sample_steps": (
            "Sampling steps", "采样步数",
            "12 is enough to see how it goes.", "12 步足以看出趋势。",
        ),
        "sample_cfg": (
            "CFG scale", "CFG 系数",
            "Raise it to 7 to see it as you usually draw.", "想看平时作图的效果可调到 7。",
        ),
        "sample_seed": (
            "Seed", "种子",
            "Change it when the first composition shows too little.", "首张构图看不出效果时更换。",
        ),
    },
    "machine": {
        "gradient_checkpointing": (
            "Gradient checkpointing", "梯度检查点",
            "Turn it on when memory is short, off when there is plenty.", "显存不足时开启，充足时关闭。",
        ),
        "memory_plan": (
            "Fit into memory by itself", "自动适配显存",
            "Turn it off when you know that it fits, to start a little sooner.", "确定放得下时关闭，启动略快。",
        ),
        "processes": (
            "Processes", "进程数",
            "As many as there are graphics cards, when there are several.", "有多张显卡时填显卡数。",
        ),
        "precision": (
            "Precision", "训练精度",
            "bf16 or fp32 when the loss turns into not-a-number or samples are black.", "损失变成 NaN 或样图全黑时用 bf16 或 fp32。",
        ),
        "fp8_base": (
            "Base model in 8 bits", "底模用 8 位",
            "Turn it on when the card is too small even with gradient checkpointing.", "开启梯度检查点后显存仍不足时开启。",
        ),
        "compile": (
            "Compile the model", "编译模型",
            "blocks for runs of many hundred steps; it does not pay for short ones. graphs where the batch is small and the card fast.",
            "步数达到数百以上时用 blocks；短训练得不偿失。批次小、显卡快时可用 graphs。",
        ),
        "save_precision": (
            "Precision of the file", "保存精度",
            "fp32 only to go on working with the file.", "仅在还要继续加工文件时用 fp32。",
        ),
        "cache_latents": (
            "Cache pictures", "缓存潜变量",
            "Turn it off only for datasets that do not fit into memory.", "仅当数据集放不进内存时关闭。",
        ),
        "seed": (
            "Seed", "种子",
            "Change it to see whether a result was luck.", "想验证结果是否偶然时更换。",
        ),
        "threads": (
            "Processor threads", "处理器线程",
            "Lower it to go on working on this machine meanwhile.", "训练时还要用这台机器则调低。",
        ),
        "device": (
            "Device", "设备",
            "Another card than the one that draws pictures meanwhile; cpu when the card makes trouble.",
            "可选与作图不同的另一张显卡；显卡有问题时用 cpu。",
        ),
    },
}

_KINDS = {
    "str": "text",
    "int": "int",
    "float": "number",
    "bool": "bool",
    "tuple[int, int]": "size",
    "tuple[float, float]": "pair",
    "tuple[str, ...]": "list",
}


@lru_cache(maxsize=4)
def schema(cards: tuple[Card, ...] = ()) -> list[dict[str, Any]]:
    """Groups with their fields in order; ``default`` is the configuration's own, before preset and base. cards: what ``device`` offers by name."""
    groups = []
    for group, names in {**FIELDS, "more": {name: (name, name, "", "") for name in without_texts()}}.items():
        title, title_zh = GROUPS[group]
        fields = [_of_cards(_field(name, texts), cards) for name, texts in names.items() if name in OF_FOLDERS or name in _types()]
        if fields:
            groups.append({"name": group, "title": {"en": title, "zh": title_zh}, "advanced": group not in ("names", "basics"), "fields": fields})
    return groups


def _field(name: str, texts: tuple[str, str, str, str]) -> dict[str, Any]:
    label, label_zh, when, when_zh = texts
    if name in OF_FOLDERS:
        kind, default, (low, high), (what, what_zh) = OF_FOLDERS[name]
    else:
        kind = "choice" if name in CHOICES else _KINDS.get(_types()[name], "text")
        default, (low, high) = _defaults()[name], RANGES.get(name, (-math.inf, math.inf))
        what, what_zh = HELP.get(name, ("", ""))
    return {
        "name": name,
        "kind": kind,
        "label": {"en": label, "zh": label_zh},
        "help": {"en": what, "zh": what_zh},
        "when": {"en": when, "zh": when_zh},
        "choices": list(CHOICES.get(name, ())),
        "min": None if math.isinf(low) else low,
        "max": None if math.isinf(high) else high,
        "default": default,
        "unit": UNITS.get(name, ""),
    }


def _of_cards(field: dict[str, Any], cards: tuple[Card, ...]) -> dict[str, Any]:
    """The field of the device as a choice among cards; each choice is a value and what is shown for it. Every other field as it is."""
    if field["name"] != "device" or not cards:
        return field
    named = [(card.device, f"{card.name}, {card.total / 2**30:.0f} GB ({card.device})") for card in cards]
    listed = [["auto", {"en": "automatic", "zh": "自动"}], *([device, {"en": text, "zh": text}] for device, text in named)]
    return {**field, "kind": "choice", "choices": [*listed, ["cpu", {"en": "processor (very slow)", "zh": "处理器（很慢）"}]]}


def _types() -> dict[str, str]:
    hints = get_type_hints(TrainingConfig)
    return {name: str(kind) if hasattr(kind, "__args__") else kind.__name__ for name, kind in hints.items()}


def _defaults() -> dict[str, Any]:
    found = {}
    for f in dataclasses.fields(TrainingConfig):
        value = f.default if f.default is not dataclasses.MISSING else () if f.default_factory is not dataclasses.MISSING else None
        found[f.name] = list(value) if isinstance(value, tuple) else value
    return found


def without_texts() -> list[str]:
    """Options that the trainer knows and that nobody has described here yet: the form shows them last, by their own names."""
    known = {name for fields in FIELDS.values() for name in fields}
    return [f.name for f in dataclasses.fields(TrainingConfig) if f.name not in known and f.name not in NOT_IN_FORM]
