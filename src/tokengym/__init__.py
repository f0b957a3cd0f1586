"""tokengym: text generation as a token-level Gymnasium environment, and the algorithms that learn in it.

Importing it registers every environment with Gymnasium:

    import gymnasium, tokengym
    env = gymnasium.make("tokengym/Lattice-v0")

`tokengym.envs`, `tokengym.agents`, `tokengym.algorithms` and `tokengym.experiments` are imported when they are first
asked for, and what in them needs torch later still.
"""

from typing import TYPE_CHECKING

# The folders of the sub-packages stand elsewhere in the source tree, where pyright does not look for this one.
from .envs.lazy import lazy_names  # pyright: ignore[reportMissingImports]
from .envs.registration import (  # pyright: ignore[reportMissingImports]
    list_ids,
    make_task,
    register_all,
    register_task,
)

if TYPE_CHECKING:
    from . import agents, algorithms, envs, experiments  # pyright: ignore[reportAttributeAccessIssue]

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "agents",
    "algorithms",
    "envs",
    "experiments",
    "list_ids",
    "make_task",
    "register_task",
]

__getattr__, __dir__ = lazy_names(__name__, {"agents": "", "algorithms": "", "envs": "", "experiments": ""})

register_all()
