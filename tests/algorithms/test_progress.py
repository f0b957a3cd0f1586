"""What is shown while a model is loaded and learns: one bar, whole in 80 columns."""

import io

import pytest
from rich.console import Console
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging as transformers_logging

from tokengym.agents import build_agent
from tokengym.algorithms import PPO
from tokengym.algorithms.runs import loggers
from tokengym.envs.registration import make_task


@pytest.mark.parametrize("width", [80, 140])
def test_the_line_of_a_run_is_whole(width, monkeypatch):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    monkeypatch.setattr(loggers, "get_console", lambda: console)
    ppo = PPO("KeywordCover", "table", seed=0)
    ppo.total_timesteps, ppo.num_timesteps = 1_000_000, 900_000
    bar = loggers.ProgressBar(ppo)
    metrics = {"episode/return": -0.1234, "objective/kl": 12.345, "objective/entropy": 0.1234}
    bar.update(ppo, metrics, 123_456.0)
    bar._progress.refresh()
    bar.close()
    last = [line for line in console.file.getvalue().replace("\r", "\n").splitlines() if "KeywordCover" in line][-1]
    assert "…" not in last and "900,000/1,000,000" in last and "return -0.123" in last and "123,456" in last


def test_loading_a_model_draws_no_bar_and_leaves_others_theirs(tmp_path, capfd):
    task = make_task("Copy")
    sizes = LlamaConfig(
        vocab_size=task.vocabulary.size,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    LlamaForCausalLM(sizes).save_pretrained(tmp_path)
    capfd.readouterr()
    transformers_logging.enable_progress_bar()
    build_agent(str(tmp_path), task.vocabulary, task.max_length)
    printed = capfd.readouterr()
    assert printed.out == printed.err == "" and transformers_logging.is_progress_bar_enabled()
