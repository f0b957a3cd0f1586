"""How answers to reasoning-gym's questions are scored: in a guarded process, where none of them is run as a program.

Nine of its scorers hand the answer to Python's `eval`: four themselves, five through SymPy's parser. In the guarded
process the four read literals only, and the parser gets formulas only; an answer that holds more is not evaluated at
all. What still takes for ever (9**9**9 is a formula) ends with the time of a call.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...checking import TokenGymError, unknown_name
from ...sandbox import Guard

EVALUATING = ("binary_matrix", "n_queens", "spiral_matrix", "string_insertion")
"""Data sets whose scorers call `eval` with the answer."""
PARSING = (
    "countdown",
    "intermediate_integration",
    "polynomial_multiplication",
    "puzzle24",
    "simple_integration",
)
"""Data sets whose scorers call SymPy's `parse_expr`, which calls `eval`.

Others may take for ever without running anything (coin_flip writes 1e999999999 out as a whole number): the time limit
holds for all.
"""

_CODE = (ast.Call, ast.Attribute, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.NamedExpr)
_FUNCTIONS = {
    *("sin cos tan cot sec csc asin acos atan acot asec acsc sinh cosh tanh coth asinh acosh atanh acoth".split()),
    *("exp log ln sqrt cbrt root Abs abs sign pi oo erf erfc erfi Ei li Si Ci gamma binomial factorial".split()),
    *("Rational Integer Float Mul Add Pow Max Min floor ceiling re im conjugate theta".split()),
}
_FORMULA = re.compile(r"[A-Za-z0-9\s+\-*/^%().,!|=<>~&]*")
_CACHED = 4096


class NotAnAnswer(ValueError):
    """An answer that would have to be run to be read."""

    guard_trouble = "refused"


class AnswerScorer:
    """Scores answers, all of a step in one call of a guarded process, and tells what went wrong there.

    Args:
        settings: The data set's name and settings, its size and seed among them.
        entries: The entries whose answers are scored.
        seconds: Computing time of an answer.
    """

    def __init__(self, settings: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], seconds: float) -> None:
        scorer = _InProcess(dict(settings), list(entries))
        self.guard = Guard(scorer, seconds=seconds, together=_runs_nothing(settings))
        self._known: dict[tuple[int, str], tuple[float, str | None]] = {}

    def __call__(self, indices: Sequence[int], answers: Sequence[str]) -> list[tuple[float, str | None]]:
        """Gives the reward of each answer to the entry of its index, and what trouble there was; it then gets 0."""
        asked = list(zip(indices, answers, strict=True))
        if len(self._known) > _CACHED:
            self._known.clear()
        new = list(dict.fromkeys(pair for pair in asked if pair not in self._known))
        for pair, verdict in zip(new, self.guard.calls(new), strict=True):
            # Some scorers parse the answer without a guard: what they cannot read is a wrong answer.
            trouble = None if verdict.trouble == "error" else verdict.trouble
            number = verdict.value if isinstance(verdict.value, (int, float)) and verdict.trouble is None else 0.0
            self._known[pair] = (float(number) if 0 <= number <= 1 else 0.0, trouble)
        return [self._known[pair] for pair in asked]

    def close(self) -> None:
        """Ends the process; the next answer starts another one."""
        self.guard.close()


class _InProcess:
    """The scorer as the guarded process has it."""

    def __init__(self, settings: dict[str, Any], entries: list[Mapping[str, Any]]) -> None:
        self.settings, self.entries = settings, entries

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self.settings, "entries": self.entries}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Loads the data set, takes `eval` from its scorers, and lets it score known answers once.

        Only a guarded process unpickles one: what is replaced here is replaced nowhere else.
        """
        self.__init__(**state)
        self.refused: list[str] = []
        self.dataset = make_dataset(self.settings)
        self._disarm()
        for entry in self.entries[:3]:
            self.score(entry["answer"], entry)

    def __call__(self, index: int, answer: str) -> float:
        """Scores one answer."""
        score = self.dataset.score_answer(answer, self.entries[index])
        if self.refused:
            raise NotAnAnswer(self.refused[0])
        return float(score)

    def score(self, answer: Any, entry: Mapping[str, Any]) -> None:
        """Scores a known answer, whose reward nobody needs: libraries load parts of themselves at the first use."""
        try:
            self.dataset.score_answer(answer, entry)
        except Exception:
            return

    def _disarm(self) -> None:
        for name, module in list(sys.modules.items()):
            if name.startswith("reasoning_gym.") and name.rpartition(".")[2] in EVALUATING:
                module.eval = self._literal  # pyright: ignore[reportAttributeAccessIssue]
            elif name.startswith("reasoning_gym.") and name.rpartition(".")[2] in PARSING:
                if hasattr(module, "parse_expr"):
                    module.parse_expr = self._formula(module.parse_expr)  # pyright: ignore[reportAttributeAccessIssue]
        sympy: Any = importlib.import_module("sympy")
        sympy.parse_expr = self._formula(sympy.parse_expr)

    def _literal(self, text: str) -> Any:
        try:
            return ast.literal_eval(text)
        except ValueError:
            if any(isinstance(node, _CODE) for node in ast.walk(ast.parse(text.strip(), mode="eval"))):
                self.refused.append("the answer is a program")
            raise

    def _formula(self, parse: Callable[..., Any]) -> Callable[..., Any]:
        def checked(text: str, *arguments: Any, **keywords: Any) -> Any:
            names = re.findall(r"[A-Za-z]\w*", text)
            formula = _FORMULA.fullmatch(text) and not re.search(r"[A-Za-z)]\s*\.|\.\s*[A-Za-z]", text)
            if not formula or any(len(name) > 1 and name not in _FUNCTIONS for name in names):
                if not formula:
                    self.refused.append("the answer is no formula")
                raise ValueError(f"{text[:80]!r} is no formula")
            return parse(text, *arguments, **keywords)

        return checked


def _runs_nothing(settings: Mapping[str, Any]) -> bool:
    """Whether no scorer of the data sets evaluates or parses answers, so that none can change how others are scored."""
    parts = settings.get("datasets", ()) if settings["name"] == "composite" else (settings,)
    return not any(part["name"] in (*EVALUATING, *PARSING) for part in parts)


def make_dataset(settings: Mapping[str, Any]) -> Any:
    """Makes a data set of reasoning-gym from its name and settings.

    Raises:
        TokenGymError: If the package is missing, or has no such data set, or that takes no such settings.
    """
    package = load_package()
    settings = dict(settings)
    name = settings.pop("name")
    if name not in package.factory.DATASETS:
        raise unknown_name("data set", name, package.factory.DATASETS)
    try:
        if name == "composite":  # whose settings are no JSON otherwise
            specified = importlib.import_module("reasoning_gym.composite").DatasetSpec
            parts = [{"weight": 1.0, "config": {}, **part} for part in settings.get("datasets", ())]
            settings["datasets"] = [specified(**part) for part in parts]
        return package.create_dataset(name, **settings)
    except (AssertionError, AttributeError, TypeError, ValueError, KeyError) as error:
        told = {key: value for key, value in settings.items() if key not in ("size", "seed")}
        raise TokenGymError(
            f"data set {name!r} of reasoning-gym cannot be made with {told}: {error}; see its settings in "
            f"help(reasoning_gym.factory.DATASETS[{name!r}][1])"
        ) from error


def load_package() -> Any:
    """Imports reasoning-gym.

    Raises:
        TokenGymError: If it, or what it needs, is not installed.
    """
    try:
        # One of its dependencies leaves a file for the garbage collector to close while it is imported.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            return importlib.import_module("reasoning_gym")
    except ImportError as error:
        raise TokenGymError(f"reasoning-gym cannot be imported ({error}): pip install 'tokengym[reasoning]'") from error
