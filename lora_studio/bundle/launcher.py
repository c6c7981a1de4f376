"""What lies in a bundle for people and for Python: a read-me, and the program that ``python BUNDLE.zip`` runs."""

from __future__ import annotations

START = '''"""Train what is in this file: python THIS_FILE.zip [--base MODEL.safetensors]. Needs Lora Studio on this machine, nothing else."""

import importlib.util
import os
import subprocess
import sys

WHERE = """Lora Studio is not found on this machine. Get its folder, then start this again in it or beside it,
or set LORA_STUDIO to the folder:  LORA_STUDIO=/path/to/lora-studio python {0}"""


def launchers():
    """Folders in which Lora Studio may lie: the one that was named, this one, the bundle's, and the folders in them."""
    bundle = os.path.dirname(os.path.abspath(sys.argv[0]))
    named = os.environ.get("LORA_STUDIO")
    for place in [named] if named else [os.getcwd(), bundle]:
        yield place
        for name in sorted(os.listdir(place)) if os.path.isdir(place) else []:
            yield os.path.join(place, name)


def command(arguments):
    for place in launchers():
        if os.path.isfile(os.path.join(place, "launch.py")) and os.path.isdir(os.path.join(place, "lora_studio")):
            return [sys.executable, os.path.join(place, "launch.py"), *arguments]
    if importlib.util.find_spec("lora_studio") is not None:
        return [sys.executable, "-m", "lora_studio", *arguments]
    return None


def main():
    bundle = os.path.abspath(sys.argv[0])
    found = command(["unbundle", bundle, "--train", *sys.argv[1:]])
    if found is None:
        print(WHERE.format(os.path.basename(bundle)), file=sys.stderr)
        return 2
    process = subprocess.Popen(found, env={**os.environ, "PYTHONUTF8": "1"})
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # it reaches the trainer too, which saves and ends
            continue


if __name__ == "__main__":
    sys.exit(main())
'''

READ_ME = """# A training, packed by Lora Studio

This file holds the pictures, captions and settings of one LoRA training, and how far it has come.

    python NAME.zip --base MODEL.safetensors

trains it to its end on this machine (a rented graphics card, a notebook cell: put a `!` in front) and writes `NAME-back.zip` beside it.
Ctrl-C stops cleanly and packs what there is; the same command goes on from there. Lora Studio must be on the machine; `--base` names the
checkpoint, unless it lies beside this file or is packed in it. At home, `unbundle NAME-back.zip`
puts the run, its samples and its LoRAs into the project and the WebUI's LoRA folder.

# 由 Lora Studio 打包的训练任务

本文件包含一次 LoRA 训练所需的图片、标签、设置以及当前进度。

    python NAME.zip --base 底模.safetensors

即可在这台机器上接着训练到结束（租用的显卡、笔记本单元格均可，后者请在命令前加 `!`），并在旁边生成 `NAME-back.zip`。
按 Ctrl-C 会保存进度、打包并退出；再次运行同一命令即可继续。机器上需要有 Lora Studio；若底模已打包在内或就放在本文件旁边，可省略 `--base`。
回到自己的电脑后执行 `unbundle NAME-back.zip`，训练记录、样图和 LoRA 就会回到项目与 WebUI 的 LoRA 文件夹。
"""
