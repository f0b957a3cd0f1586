"""Master weights: what a model in half precision learns in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class MasterWeights:
    """An optimiser over float32 copies of weights that compute in half precision (Micikevicius et al. 2018).

    bfloat16 has eight binary digits: a step smaller than 1/256 of a weight would be rounded away, and at the learning
    rates of pretrained models nearly all are. So gradients, averages and weights of the optimiser are float32, and the
    model's weights are these, rounded. A parameter with digits enough is its own copy.

    Args:
        parameters: the model's.
        make: builds the optimiser over the copies.
    """

    def __init__(
        self, parameters: Sequence[torch.nn.Parameter], make: Callable[[list[Tensor]], torch.optim.Optimizer]
    ) -> None:
        self.parameters = list(parameters)
        self.masters: list[Tensor] = [p.detach().float() if p.dtype == torch.bfloat16 else p for p in self.parameters]
        self.inner = make(self.masters)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of the optimiser, whose learning rates may be set."""
        return self.inner.param_groups

    def _pairs(self) -> list[tuple[torch.nn.Parameter, Tensor]]:
        both = zip(self.parameters, self.masters, strict=True)
        return [(parameter, master) for parameter, master in both if parameter is not master]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, the model's and the copies'."""
        for tensor in (*self.parameters, *self.masters):
            tensor.grad = None

    def gather(self) -> None:
        """Add the model's gradients to the copies', in float32; called after each part's backward pass."""
        for parameter, master in self._pairs():
            if parameter.grad is not None:
                if master.grad is None:
                    master.grad = parameter.grad.float()
                else:
                    master.grad.add_(parameter.grad)
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move the copies and round the model's weights from them; what someone else wrote there meanwhile counts."""
        for parameter, master in self._pairs():
            written = parameter != master.to(parameter.dtype)
            if bool(written.any()):
                master.copy_(torch.where(written, parameter.float(), master))
        self.inner.step()
        for parameter, master in self._pairs():
            parameter.copy_(master)

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's state, with the copies that are not the model's own weights as "master"."""
        whole = self.inner.state_dict()
        state = {index: dict(values) for index, values in whole["state"].items()}
        for index, (parameter, master) in enumerate(zip(self.parameters, self.masters, strict=True)):
            if parameter is not master:
                state.setdefault(index, {})["master"] = master
        return {**whole, "state": state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        rest: dict[int, dict[str, Any]] = {}
        for index, values in state["state"].items():
            values = dict(values)
            if "master" in values:
                self.masters[index].data.copy_(values.pop("master"))
            if values:
                rest[index] = values
        self.inner.load_state_dict({**state, "state": rest})
