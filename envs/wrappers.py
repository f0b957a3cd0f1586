"""Gymnasium wrappers of a single environment: strings in place of ids, and a record of every episode.

Learning runs on the engine inside and takes no wrapper that changes what happens; these are for agents that speak text,
such as a model behind an interface of strings, for people, and for keeping what was said. What a learner should see is
a task transform instead.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from .checking import TokenGymError
from .env import TokenEnv
from .random import derive_start
from .text import AnyText, Phrases


class TextObservation(gymnasium.ObservationWrapper, RecordConstructorArgs):
    """Shows the observation as the text that the task renders for people, in place of token ids.

    The observation space is `AnyText`. Under a tokenizer it is the decoded text; elsewhere the tokens' names, without
    `<bos>` and padding.

        env = TextObservation(gymnasium.make("tokengym/WordleMini-v0"))
    """

    def __init__(self, env: gymnasium.Env) -> None:
        """Puts the wrapper around an environment of this library, wrapped or not."""
        RecordConstructorArgs.__init__(self)
        gymnasium.ObservationWrapper.__init__(self, env)
        task = token_env(env).task
        self.observation_space = AnyText(task)

    def observation(self, observation: dict[str, Any]) -> str:
        """Returns an observation's text."""
        return token_env(self).task.render_tokens(observation["tokens"][: int(observation["length"][0])])


class TextAction(gymnasium.Wrapper, RecordConstructorArgs):
    """Takes a string as the action: the name of one token, or the text of a whole turn.

    With `unit="turn"` the text is turned into tokens, these are said one after the other, and the step ends with the
    turn: its reward is their sum. A turn that is still open then is ended with the end token where the task has one.
    `info["said"]` holds the ids that were said.

        env = TextAction(TextObservation(gymnasium.make("tokengym/WordleMini-v0")), unit="turn")
        env.step("a b c")
    """

    def __init__(self, env: gymnasium.Env, unit: Literal["token", "turn"] = "token") -> None:
        """Puts the wrapper around an environment of this library, wrapped or not.

        Args:
            env: The environment.
            unit: `"token"` or `"turn"`.
        """
        RecordConstructorArgs.__init__(self, unit=unit)
        gymnasium.Wrapper.__init__(self, env)
        if unit not in ("token", "turn"):
            raise TokenGymError(f"TextAction: unit={unit!r}: give 'token' or 'turn'")
        self.unit = unit
        self._phrases = Phrases(token_env(env).task, unit)
        self.action_space = self._phrases

    def step(self, action: str) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Says the tokens of a text.

        Raises:
            TokenGymError: If the text is no token, or too long or too short for a turn, or holds an unknown name.
        """
        inner = token_env(self)
        ids = self._phrases.parse(action)
        rewards, said = 0.0, 0
        while True:
            observation, reward, terminated, truncated, info = self.env.step(np.int64(ids[said]))
            rewards += float(reward)
            said += 1
            if terminated or truncated or self.unit == "token" or inner.turn_ended:
                break
            if said == len(ids):  # the turn is still open; without an end token `parse` lets no short text pass
                assert self._phrases.end is not None
                ids.append(self._phrases.end)
        info = {**info, "said": np.array(ids[:said], np.int64)}
        return observation, rewards, bool(terminated), bool(truncated), info


class RecordEpisodes(gymnasium.Wrapper, RecordConstructorArgs):
    r"""Appends every episode to a JSONL file, one line an episode.

    A line holds

    - `env`: the environment's id, or the task's name;
    - `seed`, `episode`, `start`: the seed, the number of the episode since the reset with it, and the episode's start
      that follows from them (`Engine.reset` takes it);
    - `prompt`: the ids shown at first; `tokens`: the ids that the agent said; `text`: all that was said, for people;
    - `rewards`: one for each token; `return`: their sum; `length`: the number of tokens;
    - `ended`: `"terminated"`, `"truncated"`, or `"interrupted"` by a reset or a close before the end.

    A line is written with one system call when the episode ends, so that no other process' line and no interruption can
    fall into it; should a crash leave half a line at the end of the file, it is cut off when the file is next opened.
    Put it inside of `TextAction`, and around Gymnasium's `TimeLimit`.

        env = RecordEpisodes(gymnasium.make("tokengym/Lattice-v0"), "episodes.jsonl")
    """

    def __init__(self, env: gymnasium.Env, path: str | os.PathLike[str]) -> None:
        """Puts the recorder around an environment of this library.

        Args:
            env: The environment, not wrapped in `TextAction`.
            path: The file, to which lines are appended; its folders are made where they are missing.

        Raises:
            TokenGymError: If the path is a folder or cannot be written.
        """
        if not isinstance(path, (str, os.PathLike)):
            raise TokenGymError(f"path={path!r}: name the file to which episodes are appended")
        RecordConstructorArgs.__init__(self, path=os.fspath(path))
        gymnasium.Wrapper.__init__(self, env)
        inside: Any = env
        while isinstance(inside, gymnasium.Wrapper):
            if isinstance(inside, TextAction):
                raise TokenGymError("RecordEpisodes records single tokens: put it inside of TextAction, not around it")
            inside = inside.env
        token_env(env)
        self.path = Path(path)
        _prepare(self.path)
        self._record: dict[str, Any] | None = None
        self._sequences: list[str] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins an episode; one that is under way is recorded as interrupted."""
        self._write("interrupted")
        observation, info = self.env.reset(seed=seed, options=options)
        inner = token_env(self)
        assert inner.origin is not None
        first, number = inner.origin
        spec = self.env.spec
        self._record = {
            "env": inner.task.name if spec is None else spec.id,
            "seed": first,
            "episode": number,
            "start": derive_start(first, number),
            "prompt": self._shown().tolist(),
            "tokens": [],
            "rewards": [],
        }
        self._sequences = []
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Says one token and notes it; with the last one the episode is written."""
        before = self._shown()
        result = self.env.step(action)
        inner = token_env(self)
        if self._record is not None:
            self._record["tokens"].append(int(action))
            self._record["rewards"].append(float(result[1]))
            if inner.task.context == "turn" and inner.turn_ended:
                self._sequences.append(inner.task.render_tokens(np.append(before, action)))
            if result[2] or result[3]:
                self._write("terminated" if result[2] else "truncated")
        return result

    def close(self) -> None:
        """Records an episode that is under way as interrupted, and closes the environment."""
        self._write("interrupted")
        super().close()

    def _shown(self) -> np.ndarray:
        engine = token_env(self).engine
        return engine.tokens[0, : engine.lengths[0]].copy()

    def _write(self, ended: str) -> None:
        """Writes the episode, unless there is none or nothing was said in it."""
        record, self._record = self._record, None
        if record is None or not record["tokens"]:
            return
        texts = [*self._sequences, token_env(self).task.render_tokens(self._shown())]
        record["text"] = "\n".join(texts)
        record |= {"return": float(np.sum(record["rewards"])), "length": len(record["tokens"]), "ended": ended}
        line = (json.dumps(record, ensure_ascii=False) + "\n").encode()
        try:
            with open(self.path, "ab", buffering=0) as file:
                file.write(line)
        except OSError as error:
            raise _unwritable(self.path, error) from error


def read_episodes(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Yields the episodes of a file that `RecordEpisodes` wrote; half a line at its end is left out.

    Raises:
        TokenGymError: If the file cannot be read, or a whole line of it is no episode.
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise TokenGymError(f"{os.fspath(path)!r} cannot be read: {error.strerror or error}") from error
    for number, line in enumerate(lines[:-1], start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:  # brackets may be too deep
            raise TokenGymError(f"{os.fspath(path)!r}, line {number} is no episode: {error}") from error
        if not isinstance(record, dict) or "ended" not in record:
            raise TokenGymError(f"{os.fspath(path)!r}, line {number} is no episode: it does not say how it ended")
        yield record


def token_env(env: gymnasium.Env) -> TokenEnv:
    """Returns the environment under all wrappers, or raises `TokenGymError` if it is not one of this library."""
    inner = env.unwrapped
    if not isinstance(inner, TokenEnv):
        raise TokenGymError(
            f"{inner!r} is no TokenEnv: these wrappers need a single environment of this library, as from "
            "gymnasium.make('tokengym/Lattice-v0')"
        )
    return inner


def _prepare(path: Path) -> None:
    """Makes sure that the file can be appended to, and cuts half a line off its end."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b") as file:
            content_end = file.seek(0, os.SEEK_END)
            keep = content_end
            while keep:
                size = min(keep, 65536)
                file.seek(keep - size)
                newline = file.read(size).rfind(b"\n")
                if newline >= 0:
                    keep += newline + 1 - size
                    break
                keep -= size
            if keep < content_end:
                file.truncate(keep)
    except (OSError, ValueError) as error:  # a ValueError for a name that no file can have
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError | ValueError) -> TokenGymError:
    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, IsADirectoryError):
        reason = "it is a folder"
    return TokenGymError(f"path={str(path)!r} cannot be written: {reason}; name a file in a folder that can be written")
