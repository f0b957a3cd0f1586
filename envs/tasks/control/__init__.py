"""Control and robotics: grids, lattices, simulated bodies and any Gymnasium environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy_names

if TYPE_CHECKING:
    from .cartpole import CartPole
    from .classic_control import Acrobot, MountainCar, Pendulum
    from .gym_task import Gym
    from .lattice import Lattice
    from .mujoco_tasks import FetchReach, InvertedPendulum, Reacher
    from .pick_place import PickPlace
    from .toy_text import FrozenLake, Taxi

__all__ = [
    "Acrobot",
    "CartPole",
    "FetchReach",
    "FrozenLake",
    "Gym",
    "InvertedPendulum",
    "Lattice",
    "MountainCar",
    "Pendulum",
    "PickPlace",
    "Reacher",
    "Taxi",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Acrobot": "classic_control",
        "CartPole": "cartpole",
        "FetchReach": "mujoco_tasks",
        "FrozenLake": "toy_text",
        "Gym": "gym_task",
        "InvertedPendulum": "mujoco_tasks",
        "Lattice": "lattice",
        "MountainCar": "classic_control",
        "Pendulum": "classic_control",
        "PickPlace": "pick_place",
        "Reacher": "mujoco_tasks",
        "Taxi": "toy_text",
    },
)
