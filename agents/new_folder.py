"""New folders: written beside their place, and moved there when all of it is written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..envs import TokenGymError


@contextmanager
def new_folder(place: str | os.PathLike[str]) -> Iterator[Path]:
    """Enter a block that fills a folder, which stands at ``place`` once the block has ended well, and else nowhere.

    Args:
        place: where nothing is yet, or an empty folder.

    Raises:
        TokenGymError: something is there.
    """
    target = Path(place)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise TokenGymError(f"{target} exists and is not an empty folder; name a new one")
    target.parent.mkdir(parents=True, exist_ok=True)
    begun = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield begun
        begun.chmod(0o755)  # as a folder that was made by `mkdir`
        if target.exists():
            target.rmdir()
        begun.rename(target)
    except BaseException:
        shutil.rmtree(begun, ignore_errors=True)
        raise
