"""Pictures and their captions: list, read, write and import them."""

from __future__ import annotations

from .buckets import Bucket, bucket_sizes, pick_bucket
from .captions import Caption, format_tags, parse_tags, read_caption, write_caption
from .images import MAX_PIXELS, SUFFIXES, PictureError, image_size, load_image
from .importing import ImportReport, adopt_dataset, import_images
from .items import FolderScan, ImageItem, list_items, scan_folder

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "Bucket",
    "Caption",
    "FolderScan",
    "ImageItem",
    "ImportReport",
    "PictureError",
    "adopt_dataset",
    "bucket_sizes",
    "format_tags",
    "image_size",
    "import_images",
    "list_items",
    "load_image",
    "parse_tags",
    "pick_bucket",
    "read_caption",
    "scan_folder",
    "write_caption",
]
