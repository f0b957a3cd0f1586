import json

import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.text.prompts import read_prompts

MANY = [f"prompt {index}" for index in range(50)]


def test_strings_and_mappings_give_texts_and_columns():
    assert read_prompts(["a", "b"]) == (["a", "b"], {})
    assert read_prompts([{"prompt": "a", "answer": 1}, {"prompt": "b", "answer": 2}]) == (
        ["a", "b"],
        {"answer": [1, 2]},
    )


def test_text_and_jsonl_files_are_read(tmp_path):
    (tmp_path / "prompts.txt").write_text("one\n\ntwo words\r\n", encoding="utf-8")
    assert read_prompts(str(tmp_path / "prompts.txt")).texts == ["one", "two words"]
    lines = [{"prompt": "a\nb", "answer": "é"}, {"prompt": "c", "answer": "d"}]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    assert read_prompts(tmp_path / "prompts.jsonl") == (["a\nb", "c"], {"answer": ["é", "d"]})


def test_the_sides_of_a_split_are_disjoint_and_complete():
    train, held = (read_prompts(MANY, split, 0.2).texts for split in ("train", "held_out"))
    assert len(held) == 10
    assert sorted(train + held) == sorted(MANY)
    assert read_prompts(MANY, "all", 0.2).texts == MANY


def test_a_split_does_not_depend_on_the_order_and_keeps_equal_prompts_together():
    held = set(read_prompts(MANY, "held_out", 0.2).texts)
    assert set(read_prompts(MANY[::-1] + MANY, "held_out", 0.2).texts) == held
    assert not held & set(read_prompts(MANY[::-1] + MANY, "train", 0.2).texts)


def test_a_seed_chooses_among_splits():
    held = [set(read_prompts(MANY, "held_out", 0.2, seed).texts) for seed in (0, 1, 1)]
    assert held[0] != held[1] == held[2] and len(held[1]) == 10
    assert not held[1] & set(read_prompts(MANY, "train", 0.2, 1).texts)
    assert read_prompts(MANY, "held_out", 0.2).texts == read_prompts(MANY, "held_out", 0.2, 0).texts


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ([], {}, "no prompts"),
        (["a"], {"held_out": 0.5}, "no prompts in split 'train'"),
        (["a"], {"split": "held_out"}, "no prompts in split 'held_out'"),
        (["a"], {"split": "tran"}, "did you mean 'train'"),
        (["a"], {"held_out": 1.0}, "fraction"),
        (["a"], {"split_seed": -1}, "split_seed=-1"),
        (["a"], {"split_seed": 0.5}, "split_seed=0.5"),
        ([3], {}, "prompt 0 is 3"),
        ([{"text": "a"}], {}, "prompt 0"),
        ([{"prompt": "a", "x": 1}, "b"], {}, "prompt 1 has the columns"),
        ([{"prompt": "a", "completions": 1}], {}, "rename"),
        ("no/such/file.txt", {}, "does not exist"),
        (None, {}, "give a list"),
    ],
)
def test_bad_prompts_stop_at_the_door(source, options, message):
    with pytest.raises(TokenGymError, match=message):
        read_prompts(source, **options)


def test_a_broken_line_of_a_jsonl_file_is_named(tmp_path):
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "a"}\n\n{"prompt": \n', encoding="utf-8")
    with pytest.raises(TokenGymError, match="line 3"):
        read_prompts(tmp_path / "prompts.jsonl")
    (tmp_path / "prompts.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TokenGymError, match="UTF-8"):
        read_prompts(tmp_path / "prompts.txt")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"prompt": "a"}', "", '{"text": "b"}'], r"line 3 of the prompt file .*prompts.jsonl' is \{'text': 'b'\}"),
        (['{"prompt": "a"}', "3"], "line 2 of the prompt file .* is 3"),
        (['{"prompt": "a"}', '{"prompt": "b", "x": 1}'], r"line 2 of .* has the columns \['prompt', 'x'\], but line 1"),
        (['{"prompt": "a", "prompts": 1}'], "line 1 of .* rename"),
    ],
)
def test_a_wrong_entry_of_a_file_is_named_by_its_line(tmp_path, lines, message):
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(TokenGymError, match=message):
        read_prompts(tmp_path / "prompts.jsonl")


def test_a_byte_order_mark_is_no_part_of_the_first_prompt(tmp_path):
    (tmp_path / "prompts.txt").write_text("one\n", encoding="utf-8-sig")
    assert read_prompts(tmp_path / "prompts.txt").texts == ["one"]
