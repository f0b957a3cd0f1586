"""Comparisons as lines of JSON, in the layouts that preference datasets have."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokengym.algorithms import PPO
from tokengym.algorithms.data import PreferenceDataset, TextEncoder, read_preferences, write_preferences
from tokengym.algorithms.data.preference_lines import FIELDS
from tokengym.algorithms.labelling import SimulatedLabeller, label_episodes
from tokengym.envs import TokenGymError, make_task

BPE = {"kind": "bpe"}
CHATML = {"kind": "bpe", "special_tokens": ["<|im_start|>", "<|im_end|>"]}


ROLES = st.sampled_from(["user", "assistant", "system", "wizard"])


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


@pytest.fixture
def file(tmp_path):
    """Writes lines, of objects or as they are, to a file."""

    def write(*lines):
        path = tmp_path / "pairs.jsonl"
        path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines))
        return path

    return write


def told(dataset, encoder):
    """What a dataset says, pair by pair: prompt, better and worse."""
    episodes = dataset.episodes

    def text(index):
        row = slice(0, episodes.lengths[index])
        return encoder.decode(episodes.tokens[index, row].tolist(), episodes.agent_mask[index, row].tolist())

    return [
        (*text(better), text(worse)[1])
        for better, worse in zip(dataset.pairs.better.tolist(), dataset.pairs.worse.tolist(), strict=True)
    ]


def test_plain_lines(file):
    path = file(
        {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."},
        "",
        {"prompt": "Grass is", "chosen": " green.", "rejected": " blue.", "id": 7},
    )
    dataset = read_preferences(path, BPE)
    assert told(dataset, TextEncoder(BPE)) == [("The sky is", " blue.", " green."), ("Grass is", " green.", " blue.")]
    assert (
        dataset.about == {"source": "pairs.jsonl", "dropped": 0, "one_sided": 0} and not dataset.episodes.returns.any()
    )
    assert (dataset.episodes.tokens[dataset.episodes.last_sequences, dataset.episodes.lengths - 1] == 2).all()


def test_lines_of_messages_over_several_turns(file):
    chosen = [assistant("blue"), user("why?"), assistant("light")]
    path = file({"prompt": [user("sky?")], "chosen": chosen, "rejected": [assistant("green")]})
    dataset = read_preferences(path, CHATML, template="chatml")
    encoder = TextEncoder(CHATML, True, "chatml")
    assert told(dataset, encoder) == [([user("sky?")], chosen, [assistant("green")])]
    assert dataset.vocabulary.tokens[dataset.vocabulary.eos] == "<|im_end|>"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"chosen": "The sky is blue.", "rejected": "The sky is green."}, ("The sky is", " blue.", " green.")),
        ({"chosen": "abcd", "rejected": "abxy"}, ("ab", "cd", "xy")),
        ({"chosen": "ab", "rejected": "abc"}, ("a", "b", "bc")),
        (
            {
                "chosen": [user("sky?"), assistant("blue")],
                "rejected": [user("sky?"), assistant("blue"), user("why?"), assistant("so")],
            },
            ([user("sky?")], [assistant("blue")], [assistant("blue"), user("why?"), assistant("so")]),
        ),
        (
            {"chosen": [user("sky?"), assistant("blue")], "rejected": [user("sky?"), assistant("green")]},
            ([user("sky?")], [assistant("blue")], [assistant("green")]),
        ),
        (
            {
                "prompt": "sky?",
                "chosen": [user("sky?"), assistant("blue")],
                "rejected": [user("sky?"), assistant("no")],
            },
            ([user("sky?")], [assistant("blue")], [assistant("no")]),
        ),
    ],
    ids=["texts", "no space", "one begins the other", "dialogues", "messages", "prompt told twice"],
)
def test_what_both_begin_with_is_the_prompt_that_is_not_there(file, line, expected):
    encoder = TextEncoder(CHATML, not isinstance(expected[0], str))
    assert told(read_preferences(file(line), CHATML), encoder) == [expected]


def test_scores_become_returns_and_margins_stay(file):
    line = {"prompt": "a", "chosen": "b", "rejected": "c", "score_chosen": 8, "score_rejected": 2.5, "margin": 3}
    dataset = read_preferences(file(line, line | {"prompt": "d"}), BPE)
    returns = dataset.episodes.returns
    assert returns[dataset.pairs.better].tolist() == [8, 8] and returns[dataset.pairs.worse].tolist() == [2.5, 2.5]
    assert dataset.pairs.margin.tolist() == [3, 3]


def test_columns_of_other_names(file):
    path = file({"question": "a", "best": "b", "worst": "c"})
    names = {"prompt": "question", "chosen": "best", "rejected": "worst"}
    assert told(read_preferences(path, BPE, columns=names), TextEncoder(BPE)) == [("a", "b", "c")]
    with pytest.raises(TokenGymError, match="unknown column 'bst'"):
        read_preferences(path, BPE, columns={"chosen": "bst"})
    with pytest.raises(TokenGymError, match="unknown column 'chozen'"):
        read_preferences(path, BPE, columns={"chozen": "best"})


def test_equal_answers_are_one_episode(file):
    path = file(
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {"prompt": "a", "chosen": "b", "rejected": "d"},
        {"prompt": "ab", "chosen": "c", "rejected": "d"},
    )
    dataset = read_preferences(path, {"kind": "chars", "corpus": ["abcd"]})
    assert len(dataset) == 3 and len(dataset.episodes) == 5


def test_rankings(file):
    best_first = {"prompt": "a", "responses": ["b", "c", "d"]}
    dataset = read_preferences(file(best_first), BPE)
    assert told(dataset, TextEncoder(BPE)) == [("a", "b", "c"), ("a", "b", "d"), ("a", "c", "d")]
    assert dataset.pairs.weight.sum() == pytest.approx(1.0)
    scored = {"prompt": "a", "responses": ["b", "c", "d"], "scores": [1, 5, 1]}
    dataset = read_preferences(file(scored), BPE)
    assert told(dataset, TextEncoder(BPE)) == [("a", "c", "b"), ("a", "c", "d")]
    assert dataset.ranks.places.tolist() == [0, 1, 1]
    assert dataset.episodes.returns[dataset.ranks.order].tolist() == [5, 1, 1]


def test_answers_one_by_one_with_labels(file):
    said = [("a", "b", True), ("c", "d", True), ("a", "e", False), ("a", "f", False), ("a", "g", True)]
    path = file(*({"prompt": prompt, "completion": answer, "label": label} for prompt, answer, label in said))
    dataset = read_preferences(path, BPE)
    assert sorted(told(dataset, TextEncoder(BPE))) == [("a", good, bad) for good in "bg" for bad in "ef"]
    assert dataset.pairs.weight.tolist() == [0.25] * 4
    assert dataset.about == {"source": "pairs.jsonl", "dropped": 0, "one_sided": 1}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([""], "is empty; expected a JSON object a line"),
        (["{"], "Line 1 .* is not JSON"),
        (["[" * 100_000], "Line 1 .* is not JSON"),
        ([f'{{"prompt": {"9" * 5000}}}'], "Line 1 .* is not JSON"),
        (["[1]"], "Line 1 .* is no object"),
        ([{"prompt": "a", "chosen": "b"}], "there is no 'rejected', only prompt, chosen"),
        ([{"prompt": "a", "chosen": "b", "rejected": None}], "there is no 'rejected'"),
        ([{"prompt": "a"}], "there is no 'chosen' and no 'rejected', only prompt"),
        ([{"prompt": "a", "completion": "b", "label": True}] * 2, "one-sided: each of its 1 prompts has only good"),
        ([{"prompt": "a", "completion": "b", "label": 1}], "'label' is 1; expected true for a good answer"),
        ([{"prompt": "a", "completion": [assistant("b")], "label": True}], "one of prompt and completion is a text"),
        ([{"prompt": "a", "completion": "b"}], "there is no 'chosen' and no 'rejected', only prompt, completion"),
        ([{"prompt": "a", "chosen": "b", "rejected": "b"}], "Line 1 .* the better and the worse answer are equal, 'b'"),
        ([{"prompt": "a", "chosen": 3, "rejected": "b"}], "'chosen' is 3; expected a text or a list of messages"),
        ([{"prompt": "a", "chosen": "b", "rejected": ""}] * 2, "one-sided: 'rejected' is empty in every line"),
        ([{"prompt": "a", "chosen": [], "rejected": "b"}], r"'chosen' is \[\]"),
        (
            [{"prompt": "a", "chosen": "b", "rejected": [assistant("c")]}],
            "rejected are texts and some messages",
        ),
        ([{"prompt": [{"role": "user"}], "chosen": [assistant("a")], "rejected": [assistant("b")]}], "both strings"),
        ([{"chosen": "b", "rejected": "c"}], "begin with nothing in common"),
        ([{"prompt": "a", "chosen": "b", "rejected": "c", "margin": -1}], "the margin is -1.0; expected at least 0"),
        (
            [{"prompt": "a", "chosen": "b", "rejected": "c", "margin": True}],
            "'margin' is True; expected a finite number",
        ),
        (['{"prompt": "a", "chosen": "b", "rejected": "c", "margin": NaN}'], "'margin' is nan"),
        ([{"prompt": "a", "chosen": "b", "rejected": "c", "score_chosen": 1}], "only one of 'score_chosen'"),
        (
            [
                {"prompt": "a", "chosen": "b", "rejected": "c"},
                {"prompt": "a", "chosen": "b", "rejected": "c", "margin": 1},
            ],
            "Only some lines .* with a margin",
        ),
        ([{"prompt": "a", "responses": ["b"]}], "a ranking has 1 responses; expected a list of at least 2"),
        ([{"prompt": "a", "responses": ["b", "c"], "scores": [1]}], "there are 2 responses and the scores"),
        ([{"prompt": "a", "responses": ["b", "c"], "scores": [1, 1]}], "not all equal"),
        ([{"prompt": "a", "responses": ["b", "b"]}], "the better and the worse answer are equal"),
        ([{"responses": ["b", "c"]}], "a ranking has no 'prompt'"),
        (
            [{"prompt": "a", "responses": ["b", "c"]}, {"prompt": "a", "chosen": "b", "rejected": "c"}],
            "Only some lines .* a ranking",
        ),
        ([{"prompt": "\ud800", "chosen": "b", "rejected": "c"}], "half of a surrogate pair"),
    ],
)
def test_files_that_compare_nothing_are_refused_and_the_line_is_named(file, lines, message):
    with pytest.raises(TokenGymError, match=message):
        read_preferences(file(*lines), BPE)


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(TokenGymError, match="does not exist"):
        read_preferences(tmp_path / "none.jsonl", BPE)
    with pytest.raises(TokenGymError, match="cannot be read"):
        read_preferences(tmp_path, BPE)
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TokenGymError, match="cannot be read"):
        read_preferences(tmp_path / "a.jsonl", BPE)


def test_overlong_comparisons_are_refused_or_dropped_and_counted(file):
    path = file(
        {"prompt": "a", "chosen": "b", "rejected": "c" * 30},
        {"prompt": "a", "chosen": "b", "rejected": "c"},
    )
    chars = {"kind": "chars", "corpus": ["abc"]}
    with pytest.raises(TokenGymError, match=r'Line 1 .* has 33 tokens.* max_length is 10.*overlong="drop"'):
        read_preferences(path, chars, max_length=10)
    dataset = read_preferences(path, chars, max_length=10, overlong="drop")
    assert len(dataset) == 1 and dataset.about["dropped"] == 1
    with pytest.raises(TokenGymError, match=r"All 2 comparisons of .* are overlong"):
        read_preferences(path, chars, max_length=3, overlong="drop")


def test_words_that_a_tokenizer_does_not_have_are_refused_with_the_line(file):
    path = file({"prompt": "a", "chosen": "b", "rejected": "z"})
    with pytest.raises(TokenGymError, match=r"Line 1 .* no token for 'z'"):
        read_preferences(path, {"kind": "chars", "corpus": ["abc"]})


@pytest.mark.parametrize("env", ["Copy", "TextGeneration"])
def test_what_an_environment_gave_is_written_and_read_again(env, tmp_path):
    algorithm = PPO(env, "mlp-tiny", seed=0, num_rows=8, group_size=4, rollout_tokens=200)
    labelled = label_episodes(algorithm.collect(), algorithm.task.vocabulary, SimulatedLabeller(0.5), 20)
    path = tmp_path / "pairs.jsonl"
    assert write_preferences(labelled, path, algorithm.task) == 20
    back = read_preferences(path, algorithm.task)
    encoder = TextEncoder(algorithm.task)
    assert told(back, encoder) == told(labelled, encoder)
    for side in ("better", "worse"):
        assert (
            back.episodes.returns[getattr(back.pairs, side)] == labelled.episodes.returns[getattr(labelled.pairs, side)]
        ).all()


def test_messages_are_written_and_read_again(file, tmp_path):
    lines = [
        {
            "prompt": [user("sky?")],
            "chosen": [assistant("blue"), user("why?"), assistant("so")],
            "rejected": [assistant("x")],
        },
        {
            "prompt": [{"role": "system", "content": "s"}, user("a")],
            "chosen": [assistant("b")],
            "rejected": [assistant("c")],
        },
    ]
    dataset = read_preferences(file(*lines), CHATML, template="chatml")
    write_preferences(dataset, tmp_path / "again.jsonl", CHATML, template="chatml")
    assert [json.loads(line) for line in (tmp_path / "again.jsonl").read_text().splitlines()] == lines
    with pytest.raises(TokenGymError, match="of another vocabulary"):
        write_preferences(dataset, tmp_path / "other.jsonl", BPE)
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(TokenGymError, match="cannot be written"):
        write_preferences(dataset, folder, CHATML, template="chatml")


def test_rows_of_a_turn_each_are_no_text(file):
    task = make_task("Lattice")
    assert task.context == "turn"
    with pytest.raises(TokenGymError, match="shows each turn apart"):
        read_preferences(file({"prompt": "a", "chosen": "b", "rejected": "c"}), task)


texts = st.sampled_from(["", "a", "b c", "a b", "\ud800"])
messages = st.lists(st.builds(lambda role, said: {"role": role, "content": said}, ROLES, texts | st.none()), max_size=3)
values = texts | messages | st.lists(texts | messages, max_size=3) | st.booleans() | st.integers(-1, 2) | st.none()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(FIELDS[:6]), values, min_size=2), min_size=1, max_size=2))
def test_whatever_stands_in_a_file_it_is_read_or_refused(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    try:
        dataset = read_preferences(path, CHATML)
    except TokenGymError as error:
        assert str(path) in str(error)
    else:
        tokens, pairs = dataset.episodes.tokens, dataset.pairs
        assert len(pairs) and (tokens[pairs.better] != tokens[pairs.worse]).any(axis=1).all()


def test_lines_may_be_many(file):
    lines = [{"prompt": f"{n}", "chosen": "b", "rejected": "c"} for n in range(300)]
    dataset = read_preferences(file(*lines), BPE)
    train, held_out = dataset.split(0.2)
    assert isinstance(train, PreferenceDataset) and (len(train), len(held_out)) == (240, 60)
