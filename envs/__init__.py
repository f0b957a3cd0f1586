"""Token-level environments: the vocabulary, tasks, the engine and its Gymnasium faces, and the exact solver."""

from .catalogue import FAMILIES, TASKS, Entry
from .checking import TokenGymError, TooManyNodesError
from .drawing import Cell, Picture
from .engine import AppendResult, Engine, StepResult
from .env import TokenEnv
from .exact import PolicyEvaluation, Solution, evaluate_policy, optimal_policy, solve
from .finite import FiniteArrays, FiniteTask, Initial, Transition
from .outcomes import Outcome, Reply, TurnResult
from .random import CounterRandom, derive_start
from .registration import list_ids, make_task, register_task
from .rewards import GuardedReward, RewardFunction, build_reward
from .specification import missing_arguments
from .task import Task
from .tasks.games import TwoPlayerTask, exploitability
from .text import ChatTask, ChatTemplate, Completion, TextReply, TextTask, build_tokenizer
from .token_task import TokenTask
from .transforms import PotentialShaping, TimeLimit
from .vector_env import TokenVectorEnv
from .vocabulary import Vocabulary

__all__ = [
    "FAMILIES",
    "TASKS",
    "AppendResult",
    "Cell",
    "ChatTask",
    "ChatTemplate",
    "Completion",
    "CounterRandom",
    "Engine",
    "Entry",
    "FiniteArrays",
    "FiniteTask",
    "GuardedReward",
    "Initial",
    "Outcome",
    "Picture",
    "PolicyEvaluation",
    "PotentialShaping",
    "Reply",
    "RewardFunction",
    "Solution",
    "StepResult",
    "Task",
    "TextReply",
    "TextTask",
    "TimeLimit",
    "TokenEnv",
    "TokenGymError",
    "TokenTask",
    "TokenVectorEnv",
    "TooManyNodesError",
    "Transition",
    "TurnResult",
    "TwoPlayerTask",
    "Vocabulary",
    "build_reward",
    "build_tokenizer",
    "derive_start",
    "evaluate_policy",
    "exploitability",
    "list_ids",
    "make_task",
    "missing_arguments",
    "optimal_policy",
    "register_task",
    "solve",
]
