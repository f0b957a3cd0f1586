"""What prompts, replies and names hold reaches a terminal or a page as text: visible, and never obeyed."""

import io
import re
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from at_the_table import run, terminal
from rich.console import Console
from rich.progress import Progress, TextColumn
from synthetic import make_study, write_study

from tokengym.agents.build import build_agent
from tokengym.agents.policies import HumanPlayer
from tokengym.algorithms.on_policy.ppo import PPO
from tokengym.envs import FiniteTask, Initial, TextTask, TokenEnv, Transition, Vocabulary
from tokengym.envs.checking.errors import TokenGymError, unknown_name
from tokengym.envs.checking.visibility import visible
from tokengym.envs.drawing.picture import Cell, Picture
from tokengym.envs.registration import make_task
from tokengym.experiments.commands.main import main
from tokengym.experiments.commands.train import evaluated, show_summary
from tokengym.experiments.console import Terminal, guarded
from tokengym.experiments.report import tables
from tokengym.experiments.report.page import write_report
from tokengym.experiments.report.results import collect
from tokengym.experiments.terminal.guide import Guide
from tokengym.experiments.terminal.named_players import scripted
from tokengym.experiments.terminal.watch import show

ATTACKS = {
    "title": "\x1b]0;owned\x07",
    "clear": "\x1b[2J",
    "clipboard": "\x1b]52;c;bHM=\x1b\\",
    "c1": "\x9b31m\x85",
    "del": "\x7f",
    "back": "a\b\b\r\v\f",
    "bidi": "\u202egnp\u2066\u200f",
    "tags": "\U000e0041\u2028",
    "markup": "[red]x[/] [link=http://x]y[/link] [/]",
}
EVERYTHING = "".join(ATTACKS.values())
OURS = re.compile(r"\x1b\[[0-9;]*m|\x1b\[2J|\x1b\[H|\x1b\[\?25[lh]|\r?\x1b\[1A|\x1b\[2K|\r(?=\x1b)")
"""What rich itself sends to a terminal: colours and the start of a new screen."""


def commands(screen):
    """Characters that a terminal would obey, or that hide or reorder others."""
    return {char for char in screen if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp") and char != "\n"}


class Letter(TextTask):
    """Reads a letter.\x1b[31m"""

    def __init__(self, text):
        super().__init__({"kind": "chars", "corpus": [text, "ok"]}, max_turn_tokens=4, max_turns=2, max_length=300)
        self.text = text

    def begin(self, random):
        return None, self.text

    def respond(self, episode, completion):
        return self.text, 1.0, False


class Names(FiniteTask):
    """Says names."""

    name = f"Names{EVERYTHING}"
    vocabulary = Vocabulary.of([f"{name}\n" for name in ATTACKS.values()], shown=["\x1b[5mseen"])

    def initial(self):
        return [Initial(1.0, 0)]

    def transitions(self, state, action):
        return [Transition(1.0, None if state else 1, float(action == 0), shown="\x1b[5mseen")]

    def legend(self, tokens):
        return [EVERYTHING]

    def picture(self, *_):
        return Picture(((Cell("\x1b["), Cell("\x07")),), EVERYTHING)


@pytest.mark.parametrize("text", ATTACKS.values(), ids=ATTACKS)
def test_visible_leaves_nothing_to_obey_and_everything_to_read(text):
    shown = visible(text)
    assert not commands(shown) and visible(shown) == shown
    assert len(shown) >= len(text)


def test_visible_keeps_ordinary_text_of_every_script_and_names_what_it_changes():
    kept = "naïve – 你好 שלום نص 👩\u200d🔬 हिन्दी\tx\n"
    assert visible(kept) == kept
    assert visible("\x1b[31m\x00\x7f") == "␛[31m␀␡"
    assert visible("\x9b\u202e\ud800") == r"\x9b\u202e\ud800"
    assert visible("a\n\tb", one_line=True) == "a␊␉b"


@pytest.mark.parametrize("make", [lambda: Letter(EVERYTHING), Names], ids=["text", "names"])
@pytest.mark.parametrize("live", [False, True], ids=["piped", "terminal"])
def test_play_and_watch_obey_nothing(make, live):
    task = make()
    for console in (terminal(), Terminal(file=io.StringIO(), force_terminal=True)) if live else (None,):
        _, played = run(task, ["#1", "?", "", "", "hint", "\x1b[2Jq", "#0 #0", "#0"], console)
        assert not commands(OURS.sub("", played)) and "␛]0;owned␇" in played.replace("\n", "")
    console = terminal() if live else Console(file=io.StringIO())
    show(task, scripted("random", Guide(task)), console, called=f"x{EVERYTHING}", delay=0.0)
    assert not commands(OURS.sub("", console.file.getvalue()))
    assert "␛" in console.file.getvalue()


def test_evaluation_and_transcripts_obey_nothing(tmp_path, capsys):
    task = Names()
    agent = build_agent("table", task.vocabulary, task.max_length)
    console = terminal()
    show_summary(task.name, evaluated(agent, task, episodes=3), console)
    assert not commands(OURS.sub("", console.file.getvalue())) and "Names␛]0;owned␇" in console.file.getvalue()
    prompts = {"prompts": [EVERYTHING], "tokenizer": {"kind": "chars", "corpus": [EVERYTHING]}, "max_new_tokens": 4}
    ppo = PPO(make_task("TextGeneration", **prompts, reward={"name": "length", "target": 3}), agent="table")
    ppo.save(tmp_path / "run")
    assert main(["evaluate", str(tmp_path / "run"), "--episodes", "5"]) == 0
    printed = capsys.readouterr()
    assert not commands(printed.out) and not commands(printed.err)
    assert "␛]0;owned␇" in printed.out.replace("\n", "")


def test_what_rounds_to_nothing_has_no_sign():
    task = make_task("KLTree")
    summary = evaluated(build_agent("table", task.vocabulary, task.max_length), task, episodes=3)
    for mode in ("greedy", "sampled"):
        summary[mode] |= {"score": -0.0004, "entropy": -1e-9, "kl": -0.0}
    console = terminal()
    show_summary(task.name, summary, console)
    printed = console.file.getvalue()
    assert "-0.000" not in printed and printed.count("0.000") == 6


def test_error_lines_and_typed_arguments_obey_nothing(tmp_path, capsys):
    assert not commands(str(TokenGymError(EVERYTHING))) and not commands(str(unknown_name("task", "\x1b[31m", ["a"])))
    bad = tmp_path / "a\x1b[31m\u202eb.yaml"
    bad.write_text("name: x\nnot a mapping\u202e: [\x07", encoding="utf-8")
    for arguments in (
        ["compare", str(bad)],
        ["evaluate", str(tmp_path / "\u202eno")],
        ["play", "\u202eX"],
        ["\x1b[2J"],
    ):
        assert main(arguments) == 2
    assert main(["train", "ppo", "Copy", "--agent", "\x9b31m"]) == 2
    printed = capsys.readouterr()
    assert not commands(printed.out) and not commands(printed.err)


def test_the_faces_for_people_obey_nothing(capsys):
    env = TokenEnv(Letter(EVERYTHING), render_mode="human")
    env.reset(seed=0)
    assert not commands(capsys.readouterr().out)
    env = TokenEnv(Letter(EVERYTHING), render_mode="ansi")
    env.reset(seed=0)
    assert not commands(env.render())
    shown: list[str] = []
    vocabulary = Vocabulary.of(["a", "\x1b[2J"])
    answers = iter(["\x1b[31m", "a"])
    player = HumanPlayer(vocabulary, ask=lambda prompt: next(answers), show=shown.append)
    player.probabilities(np.array([[vocabulary.bos, 1]], np.int32), np.array([2]))
    assert len(shown) == 2 and not any(commands(line) for line in shown)


def test_a_study_shows_failures_arguments_and_episodes_without_obeying_them(tmp_path):
    study = make_study(environments=("Copy",), algorithms=("ppo", "sac"), seeds=1)
    write_study(tmp_path, study)
    results = collect(study, tmp_path)
    shown = tables.Table(EVERYTHING, ["a"], [[tables.Cell(EVERYTHING)]], EVERYTHING)
    console = terminal()
    guarded(console).print(tables.to_rich(shown))
    assert not commands(OURS.sub("", console.file.getvalue())) and "[red]x[/]" in console.file.getvalue()
    assert not commands(tables.to_markdown(shown).replace("\n", ""))
    runs = tuple(
        replace(run, status="failed", score=None, error=EVERYTHING, traceback=EVERYTHING, curve=(), metrics=())
        if run.spec.label == "sac"
        else replace(run, episodes=({"mode": "greedy", "return": 1.0, "segments": [["agent", EVERYTHING]]},))
        for run in results.runs
    )
    html = write_report(replace(results, runs=runs), tmp_path, command=EVERYTHING).html.read_text(encoding="utf-8")
    assert not commands(html.replace("\t", "")) and html.count("␛]0;owned␇") >= 4


def test_whatever_is_printed_on_a_guarded_console_is_shown_and_rich_still_draws():
    for console in (guarded(Console(file=io.StringIO(), force_terminal=True)), Terminal(file=io.StringIO())):
        console.print("x\x1b]0;owned\x07", "\u202e", markup=False, highlight=False)
        console.print("[bold]y[/]")
        with Progress(TextColumn("{task.description}", markup=False), console=console, transient=True) as progress:
            progress.add_task("z")
        screen = console.file.getvalue()
        assert "x␛]0;owned" in screen and r"\u202e" in screen and "y" in screen
        assert not commands(OURS.sub("", screen).replace("\r", ""))
    assert guarded(console) is console
