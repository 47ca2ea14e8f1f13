"""The image that a row of a catalog or of captioned creatives names, which must lie in that file's own folder."""

from __future__ import annotations

from pathlib import Path


class RowRefused(Exception):
    """A row that cannot be used; `reason` is a short code, for counting."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def image_folder(path: Path) -> Path:
    """The folder that the image paths of a file, or of a folder of images, are relative to."""
    return (path if path.is_dir() else path.parent).resolve()


def resolve_image(folder: Path, image: str) -> Path:
    """The image's real path inside `folder`: a shared catalog must not reach into the machine's files.

    Raises:
        RowRefused: no image is named, or none that is a file there.
    """
    if not image:
        raise RowRefused("image_missing", "no image is named")
    if "://" in image:
        raise RowRefused("image_missing", f"{brief(image)} is an address; images are read from files, so download it first")
    try:
        path = (folder / image).resolve()
        inside = path.is_relative_to(folder)
        exists = inside and path.is_file()
    except (OSError, RuntimeError, ValueError) as error:
        raise RowRefused("image_missing", f"{brief(image)} is no usable path ({type(error).__name__})") from error
    if not inside:
        raise RowRefused("path_escapes", f"{brief(image)} leaves the catalog's folder; put the image inside it")
    if not exists:
        raise RowRefused("image_missing", f"there is no file {brief(image)}")
    return path


def brief(text: str) -> str:
    """For a message: quoted, and cut where it is long."""
    return repr(text if len(text) <= 120 else text[:117] + "...")
