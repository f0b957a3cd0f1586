"""Pictures of what was watched: a PNG for every position, and an animated GIF for every episode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...envs import TokenGymError
from ...envs.render import Frames
from .episode import Episode


class Film:
    """Writes frames into a folder.

    Args:
        folder: Where to write; it is made. It must be empty, so that frames of two films never mix.

    Raises:
        TokenGymError: If it is a file or holds something.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise TokenGymError(f"{folder} is a file; --frames names a folder, choose another")
        if folder.exists() and any(folder.iterdir()):
            raise TokenGymError(f"{folder} is not empty; --frames writes into a new folder, choose another")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._frames: Frames | None = None
        self._reels: list[list[npt.NDArray[np.uint8]]] = []

    def begin(self, episode: Episode) -> None:
        """Point the camera at an episode."""
        self._frames = Frames(episode.engine)
        self._reels.append([])

    def take(self, reward: float | None, words: str) -> None:
        """Write the position that the episode is in.

        Args:
            reward: The last token's reward, or None at the beginning.
            words: One line to put below it.
        """
        from PIL import Image

        from ...envs.drawing import subtitle

        assert self._frames is not None, "begin comes first"
        frame = subtitle(self._frames.draw(0, reward), words)
        reel = self._reels[-1]
        Image.fromarray(frame).save(self.folder / f"episode-{len(self._reels)}-frame-{len(reel):04d}.png")
        reel.append(frame)

    def close(self, seconds: float) -> list[Path]:
        """Write each episode as an animated GIF, with so many seconds a frame and a pause at its end; return them."""
        from PIL import Image

        written = []
        each = max(100, round(1000 * seconds)) if seconds else 400
        for number, reel in enumerate(self._reels, 1):
            if not reel:
                continue
            images = [Image.fromarray(frame) for frame in reel]
            path = self.folder / f"episode-{number}.gif"
            duration = [each] * (len(images) - 1) + [max(each, 1500)]
            images[0].save(path, save_all=True, append_images=images[1:], duration=duration, loop=0)
            written.append(path)
        return written
