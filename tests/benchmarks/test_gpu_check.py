"""The check of a GPU, tried on the CPU."""

import sys

import pytest
import torch

from benchmarks import gpu_check


def test_every_check_holds_on_the_cpu(capsys):
    assert gpu_check.main(["--device", "cpu", "--quick"]) == 0
    printed = capsys.readouterr().out
    assert "all checks hold" in printed
    for name in ("gpt2, bfloat16: agreement", "llama, float32: agreement", "sac, bfloat16: one iteration"):
        assert name in printed
    assert printed.count("a step waits once") == 2


def test_a_check_that_fails_is_named_and_the_others_go_on(monkeypatch, capsys):
    monkeypatch.setattr(gpu_check.Check, "iteration", lambda self, kind, dtype: "skipped")
    monkeypatch.setattr(gpu_check.Check, "speed", lambda self, dtype: "skipped")
    monkeypatch.setitem(gpu_check.AGREEMENT, "bfloat16", 0.0)
    assert gpu_check.main(["--device", "cpu", "--quick"]) == 1
    printed = capsys.readouterr()
    assert "failed: gpt2, bfloat16: agreement, llama, bfloat16: agreement" in printed.out
    assert "a step waits once" in printed.out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_a_line(capsys):
    assert gpu_check.main([]) == 2
    assert capsys.readouterr().out.count("\n") == 1


def test_algorithms_of_an_extra_that_is_not_installed_are_left_out_by_name(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    for part in ("agreement", "iteration", "adapters", "reward_model", "waits", "speed"):
        monkeypatch.setattr(gpu_check.Check, part, lambda self, *_: "skipped")
    assert gpu_check.main(["--device", "cpu", "--quick"]) == 0
    printed = capsys.readouterr().out.splitlines()
    left_out = [line for line in printed if "left out" in line]
    assert [line.split(",")[0] for line in left_out] == ["sb3-qrdqn", "sb3-maskable-ppo", "sb3-trpo"]
    assert all("needs sb3-contrib: pip install 'tokengym[contrib]'" in line for line in left_out)
    assert "sb3-dqn, float32: one iteration              skipped" in "\n".join(printed)
