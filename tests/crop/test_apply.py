from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from PIL import Image

from lora_studio.crop import CropEntry, CropOptions, CropPlan, apply_plan, load_plan, plan_path, plan_project
from lora_studio.dataset import load_image, read_caption, write_caption
from lora_studio.errors import UserError
from lora_studio.project import Project


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Three pictures: landscape with a caption, portrait, small."""
    project = Project.create(tmp_path, "名前 one")
    noise(96, 64).save(project.raw_dir / "a.png")
    (project.raw_dir / "a.txt").write_bytes("少女, solo".encode("cp932"))
    noise(64, 96, 1).save(project.raw_dir / "b c.jpg", quality=95)
    noise(20, 20, 2).save(project.raw_dir / "small.png")
    return project


def crop(project: Project, **options: object) -> tuple[CropPlan, list[str]]:
    plan = plan_project(project, CropOptions(**options))  # type: ignore[arg-type]
    report = apply_plan(plan, project)
    return plan, [path.name for path in report.written]


def raw_bytes(project: Project) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in project.raw_dir.iterdir()}


def test_pixels_are_the_boxes_and_originals_stay(project: Project) -> None:
    before = raw_bytes(project)
    seen: list[tuple[int, int, str]] = []
    plan = plan_project(project, CropOptions(size="64", focal="center"))
    report = apply_plan(plan, project, lambda done, total, message: seen.append((done, total, message)))
    assert [path.name for path in report.written] == ["a.png", "b c.png"]
    assert [name for name, _ in report.skipped] == ["small.png"]
    expected = np.asarray(Image.open(project.raw_dir / "a.png"))[:, 16:80]
    assert np.array_equal(np.asarray(load_image(project.dataset_dir / "a.png")), expected)
    assert raw_bytes(project) == before
    assert seen == [(1, 2, "a.png"), (2, 2, "b c.png")]
    assert load_plan(project) == plan


def test_captions_come_along_once_and_never_over_edited_ones(project: Project) -> None:
    crop(project, size="64")
    caption = project.dataset_dir / "a.txt"
    assert read_caption(caption).tags == ("少女", "solo")
    assert caption.read_bytes() == "少女, solo".encode()
    write_caption(caption, ("edited",))
    crop(project, size="32")
    assert read_caption(caption).tags == ("edited",)


def test_doing_it_again_in_another_format_leaves_one_picture_each(project: Project) -> None:
    crop(project, size="64")
    for fmt in ("jpg", "webp", "png"):
        _, written = crop(project, size="16", format=fmt, quality=90)
        pictures = sorted(path.name for path in project.dataset_dir.iterdir() if path.suffix not in ("", ".txt"))
        assert pictures == sorted(written) == [f"a.{fmt}", f"b c.{fmt}", f"small.{fmt}"]
        assert {load_image(project.dataset_dir / name).size for name in written} == {(16, 16)}
    assert not (project.studio_dir / "replaced").exists()


def test_a_picture_now_too_small_loses_its_crop_but_not_its_caption(project: Project) -> None:
    crop(project, size="16")
    write_caption(project.dataset_dir / "small.txt", ("kept",))
    crop(project, size="64")
    assert not (project.dataset_dir / "small.png").exists()
    assert read_caption(project.dataset_dir / "small.txt").tags == ("kept",)


def test_enlarging_only_when_told(project: Project) -> None:
    _, written = crop(project, size="64", upscale=True)
    assert "small.png" in written
    assert load_image(project.dataset_dir / "small.png").size == (64, 64)


def test_what_somebody_else_put_there_is_kept_aside(project: Project) -> None:
    mine = project.dataset_dir / "a.webp"
    noise(50, 50, 9).save(mine)
    content = mine.read_bytes()
    plan = plan_project(project, CropOptions(size="64"))
    report = apply_plan(plan, project)
    assert report.kept_aside == (project.studio_dir / "replaced" / "a.webp",)
    assert report.kept_aside[0].read_bytes() == content
    noise(50, 50, 10).save(mine)
    retouched = mine.read_bytes()
    again = apply_plan(plan, project)  # the same crop is wanted: what was painted over it stays
    assert again.kept_aside == () and mine.read_bytes() == retouched
    report = apply_plan(plan_project(project, CropOptions(size="32")), project)
    assert report.kept_aside == (project.studio_dir / "replaced" / "a_2.webp",) and report.kept_aside[0].read_bytes() == retouched


def test_without_the_old_plan_old_crops_are_kept_aside_not_lost(project: Project) -> None:
    crop(project, size="64")
    plan_path(project).unlink()
    plan = plan_project(project, CropOptions(size="32"))
    assert len(apply_plan(plan, project).kept_aside) == 2


def test_part_of_a_plan_leaves_the_rest_alone(project: Project) -> None:
    plan, _ = crop(project, size="64", focal="center")
    moved = replace(plan.entries[0], box=(0, 0, 64, 64), method="plan")
    apply_plan(CropPlan(plan.options, (moved,)), project)
    assert (project.dataset_dir / "b c.png").exists()
    stored = load_plan(project)
    assert stored is not None
    assert stored.entries == (moved, plan.entries[1])
    # The stored plan can be applied as it is.
    assert len(apply_plan(stored, project, force=True).written) == 2


def test_nothing_is_ever_padded(project: Project) -> None:
    Image.new("RGB", (83, 91), (255, 200, 100)).save(project.raw_dir / "plain.png")
    Image.new("RGB", (640, 77), (255, 200, 100)).save(project.raw_dir / "wide.png")
    for size in ("48x72", "72x48", "50", "bucket"):
        crop(project, size=size, upscale=True)
        for name in ("plain.png", "wide.png"):
            assert np.asarray(load_image(project.dataset_dir / name)).reshape(-1, 3).min(0).tolist() == [255, 200, 100]


def test_buckets(project: Project) -> None:
    noise(900, 600).save(project.raw_dir / "wide.jpg")
    _, written = crop(project, size="bucket", base=256, bucket_min=128)
    sizes = {path: load_image(project.dataset_dir / path).size for path in written}
    assert sizes["wide.png"] == (320, 192)
    assert sizes["a.png"] == (64, 64)
    assert "small.png" not in sizes


def test_a_large_jpeg_decoded_smaller_looks_the_same(tmp_path: Path) -> None:
    project = Project.create(tmp_path, "large")
    yy, xx = np.mgrid[0:1603, 0:2411]
    smooth = np.stack([xx / 2411 * 255, yy / 1603 * 255, (np.sin(xx / 90) + 1) * 127], -1).astype(np.uint8)
    Image.fromarray(smooth).save(project.raw_dir / "a.jpg", quality=95)
    crop(project, size="128", focal="center")
    got = np.asarray(load_image(project.dataset_dir / "a.png")).astype(float)
    exact = np.asarray(load_image(project.raw_dir / "a.jpg").resize((128, 128), Image.Resampling.LANCZOS, box=(404, 0, 2007, 1603))).astype(float)
    assert np.abs(got - exact).mean() < 0.6


def test_a_picture_changed_since_the_plan_is_left_out(project: Project) -> None:
    plan = plan_project(project, CropOptions(size="32"))
    noise(40, 90).save(project.raw_dir / "a.png")
    report = apply_plan(plan, project)
    assert "no longer" in dict(report.skipped)["a.png"]
    assert [path.name for path in report.written] == ["b c.png"]


def test_nothing_croppable_is_an_error(project: Project) -> None:
    with pytest.raises(UserError, match="too small") as caught:
        crop(project, size="512")
    assert "--upscale" in caught.value.hint


def test_two_sources_for_one_file_are_refused(project: Project) -> None:
    noise(64, 64, 5).save(project.raw_dir / "a.jpg")
    with pytest.raises(UserError, match="same file: a"):
        crop(project, size="32")


def test_full_disk_keeps_everything_whole(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    crop(project, size="64")
    before = {path.name: path.read_bytes() for path in project.dataset_dir.glob("*.*") if path.is_file()}
    raw = raw_bytes(project)

    def full(self: Image.Image, file: BinaryIO, **_: object) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    plan = plan_project(project, CropOptions(size="32"))
    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match="disk is full"):
        apply_plan(plan, project)
    assert {path.name: path.read_bytes() for path in project.dataset_dir.glob("*.*") if path.is_file()} == before
    assert raw_bytes(project) == raw


def test_a_damaged_stored_plan_is_made_again(project: Project) -> None:
    crop(project, size="64")
    plan_path(project).write_text("{", encoding="utf-8")
    assert load_plan(project) is None
    crop(project, size="32")
    assert load_plan(project) is not None


def test_an_entry_needs_its_picture(project: Project) -> None:
    gone = CropEntry("gone.png", (64, 64), (0, 0, 64, 64), (32, 32), "plan")
    here = CropEntry("a.png", (96, 64), (0, 0, 64, 64), (32, 32), "plan")
    report = apply_plan(CropPlan(CropOptions(size="32"), (gone, here)), project)
    assert [name for name, _ in report.skipped] == ["gone.png"]
