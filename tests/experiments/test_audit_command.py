"""`tokengym audit module:function`: a loss of one's own from the command line."""

import json

import pytest

from tokengym.envs import TokenGymError
from tokengym.experiments.audit import audit
from tokengym.experiments.audit.broken import rloo
from tokengym.experiments.commands.main import main

OWN_LOSSES = """
import torch


def rloo(log_probs, rewards, mask):
    others = (rewards.sum() - rewards) / (len(rewards) - 1)
    return -((rewards - others) * (log_probs * mask).sum(1)).mean()


def own_mean(log_probs, rewards, mask):
    return -((rewards - rewards.mean()) * (log_probs * mask).sum(1)).mean()


def by_the_spread_of_groups(log_probs, rewards, mask, groups):
    same = (groups[:, None] == groups).double()
    others = (same @ rewards - rewards) / (same.sum(1) - 1)
    spread = (same @ rewards / same.sum(1)).std(unbiased=False)
    lead = (rewards - others) / torch.where(spread > 1e-9, spread, 1.0)
    return -(lead * (log_probs * mask).sum(1)).mean()


def raises(log_probs):
    return 1 / 0


class Loss:
    def __call__(self, log_probs):
        return log_probs.sum()
"""


@pytest.fixture
def own_losses(tmp_path, monkeypatch):
    (tmp_path / "own_losses_of_a_test.py").write_text(OWN_LOSSES, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "own_losses_of_a_test"


def test_the_command_line_audits_a_function_of_a_module(own_losses, capsys):
    assert main(["audit", f"{own_losses}:rloo", "--task", "KLTree", "--kwargs", "num_tokens=2", "depth=2"]) == 0
    assert "claims E[R], from groups of 4: holds" in " ".join(capsys.readouterr().out.split())
    assert main(["audit", f"{own_losses}:own_mean", "--config", "group_size=2", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["right"], row["fresh_cosine"], row["fresh_scale"]) == (False, 1.0, 0.5)
    assert row["stale_scale"] > 0
    assert "0 pays 0, 1 pays 1" in row["counterexample"]


def test_the_command_line_says_what_other_groups_in_the_batch_change(own_losses, capsys):
    assert main(["audit", f"{own_losses}:by_the_spread_of_groups", "--no-fixed-points"]) == 0
    told = capsys.readouterr().out
    assert "groups of 4: holds" in " ".join(told.split())  # alone, it does
    rows = [line.strip("│ ").split("│") for line in told.partition("groups of 2 in a batch")[2].splitlines()]
    cosines = {row[0].strip(): float(row[1]) for row in rows if row[0].strip() in ("1", "2", "4")}
    assert cosines["1"] == 1.0 and cosines["2"] < 0.9 and cosines["4"] < 0.9
    assert main(["audit", f"{own_losses}:rloo", "--no-fixed-points"]) == 0
    assert "in a batch" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("claim", "told"),
    [
        ("return", "E[R]"),
        ("kl_quantile", "E[quantile"),
        ("best", "E[max of G]"),
        ("pass_at_k", "P(one of G is above 0)"),
        ("max_rl", "MaxRL, order"),
    ],
)
def test_every_claim_that_a_loss_can_be_held_against_is_named(own_losses, capsys, claim, told):
    words = ["audit", f"{own_losses}:rloo", "--claim", claim, "--no-fixed-points", "--config", "group_size=2"]
    assert main(words) == 0
    assert f"claims {told}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nothing"], "has no attribute 'nothing'"),
        (["raises"], "raised ZeroDivisionError: division by zero (own_losses_of_a_test.py, line 23)"),
        (["Loss"], "is a class; a loss is a function, or an object"),
        (["rloo", "--task", "KLTree"], "KLTree with num_tokens=3, 81 episodes, fits"),
        (["rloo", "--claim", "likelihood"], "expected one of 'return'"),
        (["rloo", "--seed", "3"], "--seed does nothing for a loss"),
        (["rloo", "--config", "group=3"], "did you mean 'group_size'"),
        (["rloo", "--task", "Copy", "--kwargs", "num_tokens=2"], "begins in several ways"),
    ],
)
def test_what_a_loss_cannot_be_given_is_one_line(own_losses, words, told, capsys):
    assert main(["audit", f"{own_losses}:{words[0]}", *words[1:]]) == 2
    assert told in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(("name", "told"), [("ppoo", "did you mean 'ppo'"), ("own_losses_of_a_test", "known: a2c,")])
def test_a_name_that_no_method_has_is_told_how_a_loss_is_named(name, told, capsys):
    assert main(["audit", name]) == 2
    printed = " ".join(capsys.readouterr().err.split())
    assert told in printed and printed.endswith("A loss of your own is named module:function.")


def test_a_task_with_too_many_groups_is_refused_with_its_size_and_one_that_fits():
    with pytest.raises(TokenGymError, match=r"256 episodes and 1.832e\+08 groups of 4, .* 81 episodes, fits"):
        audit(rloo, "KLTree")
    with pytest.raises(TokenGymError, match=r"at most 24 episodes \(KLTree with num_tokens=2, 16 episodes, fits\)"):
        audit("rloo", "KLTree", fixed_points=False)
    with pytest.raises(TokenGymError, match="unknown argument of audit_loss 'critic'"):
        audit(rloo, critic="zero")
