"""Five probes: the smallest tasks on which a learner can fail, each with one thing more than the one before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...finite import FiniteTask, Initial, Transition
from ...vocabulary import Vocabulary


class Probe1(FiniteTask):
    """Probe 1: a constant reward. Isolates the value estimate.

    ## Description
    Two tokens, and whichever is said pays 1. If the value of the first observation does not become 1, then the value
    loss, its optimiser or the reward's path to it is broken. The probes are the first thing to run when learning fails:
    each adds one thing to the one before, and its exact Q and V come from `tokengym.envs.exact.solve`.

    ## Action space
    Tokens `0` and `1`.

    ## Observation space
    `[<bos>]`.

    ## Rewards
    1. Exact: Q = (1, 1), V = 1. Random 1, optimal 1.

    ## Starting state
    Always the same.

    ## Episode end
    Terminated after one token.

    ## Information
    No keys of its own.

    ## Arguments
    None.

    ## References
    Andy L. Jones, "Debugging RL, without the agonizing pain", 2021 (probe environments).

    ## Version history
    * v0: first release.
    """

    name = "Probe1"
    family = "diagnostics"
    isolates = "the value estimate"
    mirrors = "probe environments"

    def __init__(self) -> None:
        self.vocabulary = Vocabulary.of(["0", "1"], ["x", "y"])

    def initial(self) -> Iterable[Initial]:
        """Return the starts: one, which shows nothing."""
        return [Initial(1.0, 0)]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Pay 1 and end."""
        return [Transition(1.0, None, 1.0)]

    def expert_action(self, state: Any) -> int | None:
        """Return a best token: here either."""
        return 0


class _ShowsXOrY(Probe1):
    """A probe that starts by showing `x` (state −1) or `y` (state 1), equally likely."""

    def initial(self) -> Iterable[Initial]:
        """Return the two starts."""
        x, y = self.vocabulary.encode(["x", "y"])
        return [Initial(0.5, -1, (x,)), Initial(0.5, 1, (y,))]


class Probe2(_ShowsXOrY):
    """Probe 2: the observation decides the reward. Adds to probe 1 that values must depend on the prompt.

    ## Description
    The prompt is `x` or `y`, equally likely; any token pays −1 after `x` and 1 after `y`. If probe 1 works and this
    does not, then the observation does not reach the value (wrong position, padding, or attention mask).

    ## Action space
    Tokens `0` and `1`.

    ## Observation space
    `[<bos>, x]` or `[<bos>, y]`.

    ## Rewards
    ±1. Exact: Q = (−1, −1) after `x`, (1, 1) after `y`. Random 0, optimal 0.

    ## Starting state
    The prompt, drawn anew in each episode.

    ## Episode end
    Terminated after one token.

    ## Information
    No keys of its own.

    ## Arguments
    None.

    ## References
    Andy L. Jones, "Debugging RL, without the agonizing pain", 2021.

    ## Version history
    * v0: first release.
    """

    name = "Probe2"
    isolates = "the observation's way to the value"
    mirrors = "probe environments"

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Pay what the prompt says and end."""
        return [Transition(1.0, None, float(state))]


class Probe3(Probe1):
    """Probe 3: a reward that comes one token later. Adds bootstrapping and discounting.

    ## Description
    Two tokens are said; the second one pays 1, whatever they are. If probe 2 works and this does not, then the
    backup from one token to the one before is broken (bootstrap target, discount, end-of-episode flag).

    ## Action space
    Tokens `0` and `1`.

    ## Observation space
    `[<bos>]`, then `[<bos>, token]`.

    ## Rewards
    0, then 1. Exact (undiscounted): Q = (1, 1) at both tokens; with discount γ the first is γ. Random 1, optimal 1.

    ## Starting state
    Always the same.

    ## Episode end
    Terminated after two tokens.

    ## Information
    No keys of its own.

    ## Arguments
    None.

    ## References
    Andy L. Jones, "Debugging RL, without the agonizing pain", 2021.

    ## Version history
    * v0: first release.
    """

    name = "Probe3"
    isolates = "the backup from token to token"
    mirrors = "probe environments"

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Wait for one token, then pay 1 and end."""
        return [Transition(1.0, 1, 0.0)] if state == 0 else [Transition(1.0, None, 1.0)]


class Probe4(Probe1):
    """Probe 4: the action decides the reward. Adds the policy to probe 1.

    ## Description
    Token `1` pays 1, token `0` pays −1. If probe 1 works and this does not, then the policy loss, the advantage's sign
    or the greedy choice is broken.

    ## Action space
    Tokens `0` and `1`.

    ## Observation space
    `[<bos>]`.

    ## Rewards
    ±1. Exact: Q = (−1, 1), V = 1. Random 0, optimal 1.

    ## Starting state
    Always the same.

    ## Episode end
    Terminated after one token.

    ## Information
    No keys of its own.

    ## Arguments
    None.

    ## References
    Andy L. Jones, "Debugging RL, without the agonizing pain", 2021.

    ## Version history
    * v0: first release.
    """

    name = "Probe4"
    isolates = "the policy's loss"
    mirrors = "probe environments"

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Pay for the token and end."""
        return [Transition(1.0, None, 2.0 * action - 1.0)]

    def expert_action(self, state: Any) -> int | None:
        """Return the token that pays."""
        return 1


class Probe5(_ShowsXOrY):
    """Probe 5: action and observation decide the reward together. Adds a policy that reads.

    ## Description
    After `x` token `0` pays 1, after `y` token `1` does; the other token pays −1. If probes 2 and 4 work and this does
    not, then value and policy disagree about which observation an action belongs to (an off-by-one in positions).

    ## Action space
    Tokens `0` and `1`.

    ## Observation space
    `[<bos>, x]` or `[<bos>, y]`.

    ## Rewards
    ±1. Exact: Q = (1, −1) after `x`, (−1, 1) after `y`; V = 1. Random 0, optimal 1.

    ## Starting state
    The prompt, drawn anew in each episode.

    ## Episode end
    Terminated after one token.

    ## Information
    No keys of its own.

    ## Arguments
    None.

    ## References
    Andy L. Jones, "Debugging RL, without the agonizing pain", 2021.

    ## Version history
    * v0: first release.
    """

    name = "Probe5"
    isolates = "policy and value at the same place"
    mirrors = "probe environments"

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Pay for the token that fits the prompt and end."""
        return [Transition(1.0, None, state * (2.0 * action - 1.0))]

    def expert_action(self, state: Any) -> int | None:
        """Return the token that fits the prompt."""
        return int(state > 0)
