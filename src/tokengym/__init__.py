"""tokengym: text generation as a token-level Gymnasium environment, and the algorithms that learn in it.

Importing it registers every environment with Gymnasium:

    import gymnasium, tokengym
    env = gymnasium.make("tokengym/Lattice-v0")
"""

# The folders of the sub-packages stand elsewhere in the source tree, where pyright does not look for this one.
from .envs.registration import (  # pyright: ignore[reportMissingImports]
    list_ids,
    make_task,
    register_all,
    register_task,
)

__version__ = "0.1.0"
__all__ = ["__version__", "list_ids", "make_task", "register_task"]

register_all()
