"""Minari datasets in and out: the standard files of offline reinforcement learning (`pip install tokengym[minari]`)."""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...envs import Task, TokenGymError
from ...envs.checking import checked, shown
from .dataset import EpisodeDataset
from .episode_file import BrokenDatasetError
from .episodes import Episodes

LOG_PROB = "log_prob"
"""The info under which the log-probability of each token under its behaviour is kept."""
START = "start"
"""The info under which the seed is kept that the episode was started with."""


def minari() -> Any:
    """Import and return Minari.

    Raises:
        TokenGymError: it is not installed.
    """
    try:
        import h5py  # noqa: F401 # which Minari needs to write, and asks for only then
        import minari
    except ImportError as error:
        raise TokenGymError("Minari is not installed: pip install 'tokengym[minari]' (Python 3.11 or newer)") from error
    return minari


@checked
def to_minari(dataset: EpisodeDataset, env: Any, dataset_id: str, **about: Any) -> Any:
    """Write a dataset as one of Minari's, where Minari keeps them, and return Minari's object.

    Each token of the agent's is a step: its observation is the dictionary of ``tokens`` (max_length,) and ``length``
    (1,) that the environment shows, its action the token; `LOG_PROB` and `START` are in the infos.

    Args:
        dataset: what was recorded.
        env: the environment that it was recorded in, an id or a single `TokenEnv`; anyone who reads it can make it
            again where it has a spec.
        dataset_id: ``(namespace/)(environment/)name-vN``.
        **about: as Minari's ``create_dataset_from_buffers`` takes it: ``algorithm_name``, ``author``, …

    Raises:
        TokenGymError: Minari is not installed, has such a dataset already or refuses the id, or the episodes are not
            of this environment.
    """
    import gymnasium

    library = minari()
    check_minari_id(dataset_id)
    made = gymnasium.make(env) if isinstance(env, str) else env
    task = getattr(made.unwrapped, "task", None)
    if not isinstance(task, Task):
        raise TokenGymError(f"env={shown(env)}: expected a token environment, or its id, as 'tokengym/Copy-v0'")
    dataset.require(task.vocabulary, "the dataset")
    longest = int(dataset.episodes.lengths.max(initial=0))
    if longest > task.max_length:
        raise TokenGymError(f"an episode has {longest} tokens, and {task.name!r} shows at most {task.max_length}")
    if dataset.episodes.action_masks is not None:
        warnings.warn(
            f"the dataset holds which tokens were legal, and {dataset_id!r} will not: Minari's steps have no place for "
            "it. Keep a .safetensors file (dataset.save) to learn from it with action_masks",
            RuntimeWarning,
            stacklevel=2,
        )
    buffers = [library.data_collector.EpisodeBuffer(**steps) for steps in steps_of(dataset.episodes, task)]
    place = _place_of(dataset_id)
    another_s = place.exists()  # written meanwhile, by another process
    try:
        with warnings.catch_warnings():
            # It recommends an author, a permalink and an e-mail address; who wants them gives them.
            warnings.filterwarnings("ignore", module="minari", category=UserWarning)
            return library.create_dataset_from_buffers(dataset_id, buffers, env=made, **about)
    except BaseException as error:
        # What it began to write would stand in the way of the next try, as a dataset of this id.
        if not another_s:
            shutil.rmtree(place, ignore_errors=True)
        if not isinstance(error, (AssertionError, OSError, TypeError, ValueError)):
            raise
        raise TokenGymError(f"Minari refuses {dataset_id!r}: {error}") from error


def steps_of(episodes: Episodes, task: Task) -> list[dict[str, Any]]:
    """Return each episode as Minari's columns: T steps, and T + 1 observations and infos."""
    flat, found = episodes.flat, []
    for episode in range(len(episodes)):
        said = slice(*flat.episode_offsets[episode : episode + 2])
        last = int(episodes.last_sequences[episode])
        rows = np.append(flat.row[said], last)
        lengths = np.append(flat.column[said], episodes.lengths[last])
        tokens = np.full((len(rows), task.max_length), episodes.pad, np.int32)
        width = min(task.max_length, episodes.tokens.shape[1])
        before = np.arange(width) < lengths[:, None]
        tokens[:, :width][before] = episodes.tokens[rows, :width][before]
        ends = np.zeros(len(rows) - 1, bool)
        ends[-1:] = True
        found.append(
            {
                "id": episode,
                "observations": {"tokens": tokens, "length": lengths[:, None].astype(np.int32)},
                "actions": flat.action[said],
                "rewards": flat.reward[said].astype(np.float64),
                "terminations": ends & flat.terminated[episode],
                "truncations": ends & ~flat.terminated[episode],
                "infos": {
                    LOG_PROB: np.append(0.0, flat.log_prob[said]).astype(np.float32),
                    START: np.full(len(rows), episodes.starts[episode], np.uint64),
                },
            }
        )
    return found


@checked
def from_minari(given: Any, task: Task) -> EpisodeDataset:
    """Return one of Minari's datasets as episodes of a task.

    It is either of token environments, as `to_minari` writes them; or of the Gymnasium environment that a task such as
    `Gym` writes in tokens, whose observations and actions are then written in tokens in the same way. Where
    `LOG_PROB` is not known it is 0; where `START` is not, episodes are counted.

    Args:
        given: Minari's object, its id among those that are there (nothing is downloaded), or its folder.
        task: whose episodes they are to be.

    Raises:
        BrokenDatasetError: its file is cut short or altered.
        TokenGymError: Minari is not installed, there is no such dataset, or it is of other spaces or tokens.
    """
    source = opened(given)
    try:
        episodes = list(source.iterate_episodes())
    except (OSError, KeyError) as error:
        raise BrokenDatasetError(
            f"the Minari dataset {shown(given)} is broken: {error}. Record or fetch it anew"
        ) from error
    if not episodes:
        raise TokenGymError(f"the Minari dataset {shown(given)} holds no episodes")
    spaces = getattr(source.observation_space, "spaces", {})
    if set(spaces) == {"tokens", "length"}:
        require_vocabulary(source, task)
        sequences = [said_in(episode, task) for episode in episodes]
    elif hasattr(task, "write_actions"):
        sequences = [written_in(episode, task) for episode in episodes]
    else:
        raise TokenGymError(
            f"the Minari dataset has observations {source.observation_space}; expected 'tokens' and 'length', or a "
            f"task that writes such observations in tokens, as Gym(env_id=…); {task.name!r} does not"
        )
    about = {"minari": str(getattr(source.spec, "dataset_id", given))}
    starts = [(episode.infos or {}).get(START, [place])[0] for place, episode in enumerate(episodes)]
    together = put_together(sequences, task.vocabulary.pad, np.array(starts, np.uint64))
    return EpisodeDataset(together, task.vocabulary, about)


def require_vocabulary(source: Any, task: Task) -> None:
    """Refuse a dataset of a token environment whose spaces have other numbers of tokens than a task.

    Where they are more, each of its ids is a token of the task's, of another meaning.
    """
    size = int(np.max(source.observation_space["tokens"].high)) + 1
    said = int(getattr(source.action_space, "n", 0))
    wanted = task.vocabulary
    if (size, said) != (wanted.size, wanted.num_actions):
        raise TokenGymError(
            "the Minari dataset is of another vocabulary: "
            f"its environment has {size} tokens, {said} of them sayable, "
            f"and {task.name!r} has {wanted.size} and {wanted.num_actions}. Read it for the task it was recorded in"
        )


def check_minari_id(dataset_id: str) -> None:
    """Say what is wrong with the id of a dataset that is to be written.

    Raises:
        TokenGymError: Minari is not installed, the id is not one of Minari's with a version, or is taken.
    """
    minari()
    from minari.dataset.minari_dataset import parse_dataset_id  # pyright: ignore[reportMissingImports]

    if not re.fullmatch(r"(\w[\w-]*/)*\w[\w-]*-v\d+", dataset_id):
        raise TokenGymError(
            f"the id of a Minari dataset is {dataset_id!r}; expected (namespace/)(environment/)name-vN, such as "
            "'copy/expert-v0'"
        )
    try:
        parse_dataset_id(dataset_id)
    except ValueError as error:  # a namespace of one letter, for one
        raise TokenGymError(f"Minari refuses {dataset_id!r}: {error}") from error
    if _place_of(dataset_id).exists():
        raise TokenGymError(f"there is a Minari dataset {dataset_id!r} already: take another name or version")


def _place_of(dataset_id: str) -> Path:
    from minari.storage import get_dataset_path  # pyright: ignore[reportMissingImports]

    return Path(get_dataset_path(dataset_id))


def opened(given: Any) -> Any:
    """Return Minari's object for an object, an id or a folder."""
    library = minari()
    if hasattr(given, "iterate_episodes"):
        return given
    folder = Path(str(given))
    try:
        if folder.is_dir():
            inner = folder / "data"
            return library.MinariDataset(inner if inner.is_dir() else folder)
        return library.load_dataset(str(given), download=False)
    except (FileNotFoundError, OSError, ValueError, KeyError) as error:
        raise TokenGymError(
            f"there is no Minari dataset {shown(str(given))}: give the id of one that is there (`minari list local`), "
            f"or its folder ({error})"
        ) from error


Sequences = list[Mapping[str, Any]]
"""An episode: one mapping a sequence, of its tokens, the columns that the agent said, rewards and log-probabilities."""


def said_in(episode: Any, task: Task) -> Sequences:
    """Return the sequences of an episode of a token environment."""
    tokens, lengths = np.asarray(episode.observations["tokens"]), np.asarray(episode.observations["length"])[:, 0]
    actions = np.asarray(episode.actions).reshape(-1)
    count = len(actions)
    infos = episode.infos or {}
    log_probs = np.asarray(infos[LOG_PROB])[1:] if LOG_PROB in infos else np.zeros(count, np.float32)
    if count == 0 or len(lengths) != count + 1:
        told = f"episode {episode.id} has {count} actions and {len(lengths)} observations"
        raise TokenGymError(f"{told}; expected at least one action, and one observation more")
    # A sequence goes on where the next observation begins with this one and what was said after it.
    room = tokens.shape[1]
    same = ((tokens[1:] == tokens[:-1]) | (np.arange(room) >= lengths[:-1, None])).all(1)
    said = tokens[np.arange(1, count + 1), np.minimum(lengths[:-1], room - 1)] == actions
    goes_on = same & said & (lengths[1:] > lengths[:-1])
    begins = np.flatnonzero(np.append(True, ~goes_on))
    sequences: Sequences = []
    for first, behind in zip(begins, np.append(begins[1:], count + 1), strict=True):
        steps = np.arange(first, min(behind, count))
        ids = tokens[behind - 1, : lengths[behind - 1]]
        if behind <= count:
            ids = np.append(ids, actions[behind - 1])
        numbers = {"rewards": np.asarray(episode.rewards)[steps], "log_probs": log_probs[steps]}
        sequences.append({"tokens": ids, "columns": lengths[steps], **numbers})
    return ended(sequences, episode)


def written_in(episode: Any, task: Any) -> Sequences:
    """Return the sequences of an episode of a Gymnasium environment, written in tokens as a task writes them."""
    count = len(episode.rewards)
    observations = unstacked(episode.observations, count + 1)
    actions = unstacked(episode.actions, count)
    shown_tokens, said = task.write_observations(observations), task.write_actions(actions)
    bos = task.vocabulary.bos
    sequences: Sequences = []
    for step in range(count):
        ids = np.concatenate([[bos], shown_tokens[step], said[step]])
        columns = np.arange(len(ids) - len(said[step]), len(ids))
        rewards = np.zeros(len(columns))
        rewards[-1] = episode.rewards[step]
        sequences.append({"tokens": ids, "columns": columns, "rewards": rewards, "log_probs": np.zeros(len(columns))})
    final = {"tokens": np.concatenate([[bos], shown_tokens[-1]]), "columns": np.zeros(0, int)}
    sequences.append({**final, "rewards": np.zeros(0), "log_probs": np.zeros(0)})
    return ended(sequences, episode)


def unstacked(values: Any, count: int) -> list[Any]:
    """Return columns of a space, a dictionary or a tuple of arrays perhaps, as one value a step."""
    if isinstance(values, Mapping):
        columns = {name: unstacked(column, count) for name, column in values.items()}
        return [{name: column[step] for name, column in columns.items()} for step in range(count)]
    if isinstance(values, tuple):
        return list(zip(*(unstacked(column, count) for column in values), strict=True))
    return list(np.asarray(values)[:count])


def ended(sequences: Sequences, episode: Any) -> Sequences:
    """Leave the final observation away where nothing follows it, and note how the episode ended."""
    terminated = bool(np.asarray(episode.terminations)[-1])
    if terminated and len(sequences) > 1 and not len(sequences[-1]["columns"]):
        sequences = sequences[:-1]
    return [{**one, "terminated": terminated} for one in sequences]


def put_together(found: Sequence[Sequences], pad: int, starts: np.ndarray) -> Episodes:
    """Return the episodes of their sequences."""
    rows = [one for sequences in found for one in sequences]
    lengths = np.array([len(one["tokens"]) for one in rows], np.int32)
    shape = (len(rows), int(lengths.max()))
    tokens, mask = np.full(shape, pad, np.int32), np.zeros(shape, bool)
    rewards, log_probs = np.zeros((2, *shape), np.float32)
    for row, one in enumerate(rows):
        tokens[row, : lengths[row]] = one["tokens"]
        mask[row, one["columns"]] = True
        rewards[row, one["columns"]] = one["rewards"]
        log_probs[row, one["columns"]] = one["log_probs"]
    counts = np.array([len(sequences) for sequences in found])
    last = np.zeros(len(rows), bool)
    last[np.cumsum(counts) - 1] = True
    terminated = np.array([one["terminated"] for one in rows])
    return Episodes(
        tokens=tokens,
        lengths=lengths,
        agent_mask=mask,
        rewards=rewards,
        log_probs=log_probs,
        episode_id=np.repeat(np.arange(len(found)), counts),
        turn=np.concatenate([np.arange(count) for count in counts]).astype(np.int32),
        terminated=last & terminated,
        truncated=last & ~terminated,
        starts=starts,
        pad=pad,
    )
