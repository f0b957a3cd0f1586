"""Every field of every configuration takes what its annotation says, to the edges of its range, and nothing else."""

import dataclasses
import math
import pickle
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from tokengym.algorithms import ALGORITHMS, check_config
from tokengym.algorithms.configs import Schedule
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.checking.fields import Range, check_value

FIELDS = [(name, field.name) for name in ALGORITHMS for field in dataclasses.fields(ALGORITHMS.config(name))]

NOT_A_VALUE: list[Any] = [[], [1], (1,), {}, {"value": 1}, b"1", object(), 1j, math.nan, np.array([1, 2]), "x", ""]
NOT_A_NUMBER = [*NOT_A_VALUE, True, False, np.True_, "1", "0.5", "1e-3", "inf", -1, -math.inf, 10**400, -(10**400)]
NOT_WHOLE = [*NOT_A_NUMBER, 0.5, 1.5, 2.0, 64.0, np.float32(2), math.inf, 2**31, 2**63, 1e9, 1e308]
NOT_TRUE_OR_FALSE = [*NOT_A_VALUE, 0, 1, 1.0, "true", "false", "False", np.int64(1), math.inf]
NOT_A_CHOICE = [*NOT_A_VALUE, 0, 1, True, 1.5, "Token", "k1 ", math.inf]


def taken_apart(annotation: Any) -> tuple[Any, list[Range], bool]:
    """The plain type, the ranges and whether None will do, of ``Annotated[float, Range(…)] | None`` and the like."""
    if get_origin(annotation) in (Union, types.UnionType):
        (only,) = [one for one in get_args(annotation) if one not in (type(None), Schedule)]
        return *taken_apart(only)[:2], type(None) in get_args(annotation)
    if get_origin(annotation) is Annotated:
        plain, *metadata = get_args(annotation)
        return plain, [one for one in metadata if isinstance(one, Range)], False
    return annotation, [], False


def annotation_of(algorithm: str, field: str) -> Any:
    return get_type_hints(ALGORITHMS.config(algorithm), include_extras=True)[field]


def wrong_values(annotation: Any) -> list[Any]:
    plain, ranges, optional = taken_apart(annotation)
    if plain is str:
        wrong = [one for one in NOT_A_CHOICE if not isinstance(one, str)]
        return wrong if optional else [*wrong, None]
    wrong = {int: NOT_WHOLE, float: NOT_A_NUMBER, bool: NOT_TRUE_OR_FALSE}.get(plain, NOT_A_CHOICE)
    if plain is float and not any(one.infinite for one in ranges):
        wrong = [*wrong, math.inf, 1e308]
    if any((one.least or 0) < 0 for one in ranges):
        wrong = [one for one in wrong if not (isinstance(one, int) and one == -1)]
    return wrong if optional else [*wrong, None]


@pytest.mark.parametrize(("algorithm", "field"), FIELDS)
def test_a_field_refuses_every_wrong_value_and_names_itself(algorithm: str, field: str):
    for value in wrong_values(annotation_of(algorithm, field)):
        with pytest.raises(TokenGymError, match=f"^{field} is .*; expected "):
            check_config(algorithm, {field: value})


@pytest.mark.parametrize(("algorithm", "field"), FIELDS)
def test_a_field_takes_values_up_to_the_edges_of_its_range_and_none_beyond(algorithm: str, field: str):
    annotation = annotation_of(algorithm, field)
    plain, ranges, optional = taken_apart(annotation)
    assert not optional or check_value(field, annotation, None) is None
    if plain is bool:
        assert check_value(field, annotation, np.False_) is False
        return
    if plain is str:
        assert check_value(field, annotation, "any text") == "any text"
        return
    if get_origin(plain) is Literal:
        assert all(check_value(field, annotation, choice) == choice for choice in get_args(plain))
        return
    (bounds,) = ranges
    inside, beyond = [], []
    if bounds.least is not None:
        inside.append(bounds.least)
        beyond.append(bounds.least - 1 if plain is int else math.nextafter(bounds.least, -math.inf))
    if bounds.above is not None:
        inside.append(math.nextafter(bounds.above, math.inf))
        beyond.append(bounds.above)
    if bounds.most is not None:
        inside.append(bounds.most)
        beyond.append(bounds.most + 1 if plain is int else math.nextafter(bounds.most, math.inf))
    if bounds.below is not None:
        inside.append(math.nextafter(bounds.below, -math.inf))
        beyond.append(bounds.below)
    assert len(inside) == 2 or bounds.infinite, "both ends are bounded"
    for value in inside:
        scalar = np.int64(value) if plain is int else np.float64(value)
        for given in (value, scalar):
            checked = check_value(field, annotation, given)
            assert checked == value and type(checked) in (int, float)
    for value in beyond:
        with pytest.raises(TokenGymError, match=field):
            check_value(field, annotation, value)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_default_is_within_its_own_range(algorithm: str):
    config = check_config(algorithm, {})
    assert check_config(algorithm, config.to_dict()) == config


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("learning_rate", "1e-3", "leave the quotes out"),
        ("whiten_advantages", "false", "leave the quotes out"),
        ("num_rows", 64.0, "write 64"),
        ("num_rows", 1.5, "1 or 2"),
        ("epochs", True, "true and false are not numbers"),
        ("rollout_tokens", 1e308, "within 1 … 10,000,000"),
        ("kl_in", "rewards", "'reward', 'loss' or 'both'"),
        ("kl_target", 0, "None or a number above 0"),
        pytest.param("num_rows", 10**5000, "cannot be shown", id="5,001 digits"),
        pytest.param("clip", "x" * 10**6, "1,000,002 characters", id="a million letters"),
    ],
)
def test_the_message_says_how_to_mend_it(field: str, value: Any, says: str):
    with pytest.raises(TokenGymError, match=f"^{field} is .*{says}") as caught:
        check_config("ppo", {field: value})
    assert len(str(caught.value)) < 250


def test_scalars_of_numpy_become_plain_ones():
    config = check_config("ppo", {"num_rows": np.int64(8), "learning_rate": np.float32(0.5), "action_masks": np.True_})
    assert [type(config.to_dict()[name]) for name in ("num_rows", "learning_rate", "action_masks")] == [
        int,
        float,
        bool,
    ]


def test_a_configuration_stays_frozen_and_shows_what_differs_from_the_defaults():
    config = check_config("sac", {"alpha": 0.1, "critics": "mean"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.alpha = 0.2  # type: ignore[attr-defined]
    assert repr(config) == "SACConfig(alpha=0.1, critics='mean')"
    assert pickle.loads(pickle.dumps(config)) == config


def test_infinity_is_taken_where_it_means_that_nothing_is_clipped():
    assert check_config("ppo", {"max_grad_norm": math.inf}).to_dict()["max_grad_norm"] == math.inf
