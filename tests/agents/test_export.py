import json

import numpy as np
import pytest
import torch
import transformers
from agent_cases import LENGTH, VOCABULARY, make_agent, random_tokens, tiny_neox

from tokengym.agents import Agent, build_agent, rebuild_agent
from tokengym.agents.export import language_model, tokenizer_of
from tokengym.envs import TokenGymError, Vocabulary, make_task


def tiny_gpt2(num_tokens: int = VOCABULARY.size, tied: bool = True):
    torch.manual_seed(0)
    sizes = transformers.GPT2Config(
        vocab_size=num_tokens,
        n_positions=LENGTH,
        n_embd=32,
        n_layer=2,
        n_head=4,
        initializer_range=0.2,
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=None,
    )
    return transformers.GPT2LMHeadModel(sizes)


AGENTS = {
    "gpt2": lambda: make_agent("gpt2-tiny"),
    "gpt2 with a critic of its own": lambda: make_agent("gpt2-tiny", separate_critic=True),
    "gpt2 at another temperature": lambda: make_agent("gpt2-tiny", temperature=0.5),
    "llama": lambda: make_agent("llama-tiny", heads=("policy", "q")),
    "instance, tied": lambda: make_agent(tiny_gpt2()),
    "instance, tied, hot": lambda: make_agent(tiny_gpt2(), temperature=2.0),
    "instance, untied": lambda: make_agent(tiny_gpt2(tied=False)),
    "instance, larger vocabulary": lambda: make_agent(tiny_gpt2(VOCABULARY.size + 5)),
    "neox": lambda: make_agent(tiny_neox()),
}


def logits_of(agent: Agent, tokens: np.ndarray) -> torch.Tensor:
    rows, columns = np.indices(tokens.shape)
    lengths = np.full(len(tokens), tokens.shape[1])
    with torch.no_grad():
        out = agent.evaluate(
            torch.from_numpy(tokens),
            torch.from_numpy(lengths),
            torch.from_numpy(rows.ravel()),
            torch.from_numpy(columns.ravel() + 1),
            heads=("policy",),
        )
    assert out.logits is not None
    return out.logits.view(*tokens.shape, -1)


@pytest.mark.parametrize("name", AGENTS)
def test_plain_transformers_loads_an_export_with_equal_logits_and_an_agent_comes_back_from_it(name: str, tmp_path):
    agent, tokens = AGENTS[name](), random_tokens(3)
    before = {key: value.clone() for key, value in agent.state_dict().items()}
    agent.save_pretrained(tmp_path / "out")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        theirs = model(input_ids=torch.from_numpy(tokens).long()).logits[..., : VOCABULARY.num_actions]
    ours = logits_of(agent, tokens)
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)
    again = build_agent(str(tmp_path / "out"), VOCABULARY, LENGTH)
    torch.testing.assert_close(logits_of(again, tokens), ours, rtol=1e-4, atol=1e-4)
    after = agent.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize("name", ["gpt2", "llama", "instance, larger vocabulary"])
def test_generate_draws_what_the_agent_would_say_and_never_what_it_cannot(name: str, tmp_path):
    agent = AGENTS[name]()
    agent.save_pretrained(tmp_path / "out")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    torch.manual_seed(0)
    start = torch.full((4000, 1), VOCABULARY.bos)
    said = model.generate(input_ids=start, attention_mask=torch.ones_like(start), max_new_tokens=1)[:, 1]
    expected = torch.softmax(logits_of(agent, np.full((1, 1), VOCABULARY.bos, np.int32))[0, 0], -1).double().numpy()
    counts = np.bincount(said.numpy(), minlength=VOCABULARY.num_actions)
    assert len(counts) == VOCABULARY.num_actions
    deviations = (counts / 4000 - expected) / np.sqrt(np.maximum(expected * (1 - expected), 1e-4) / 4000)
    assert np.abs(deviations).max() < 4.5


def test_an_export_holds_safe_tensors_a_card_and_a_tokenizer_with_the_names_of_the_vocabulary(tmp_path):
    AGENTS["gpt2"]().save_pretrained(tmp_path / "out", card="# Mine\n")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    assert (tmp_path / "out" / "README.md").read_text(encoding="utf-8") == "# Mine\n"
    assert json.loads((tmp_path / "out" / "config.json").read_text())["architectures"] == ["GPT2LMHeadModel"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.convert_ids_to_tokens(list(range(VOCABULARY.size))) == list(VOCABULARY.tokens)
    assert tokenizer.bos_token_id == VOCABULARY.bos and tokenizer.pad_token_id == VOCABULARY.pad


@pytest.mark.parametrize("id", ["Copy", "Lattice", "TicTacToe", "Taxi", "WordleMini", "Sentiment", "KeywordCover"])
def test_the_tokenizer_of_a_vocabulary_reads_what_the_vocabulary_writes(id: str):
    vocabulary = make_task(id).vocabulary
    tokenizer = tokenizer_of(vocabulary)
    ids = np.random.default_rng(0).integers(0, vocabulary.size, 40).tolist()
    text = vocabulary.separator.join(vocabulary.tokens[one] for one in ids)
    assert tokenizer.encode(text, add_special_tokens=False) == ids
    assert tokenizer.decode(ids).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: make_agent("mlp-tiny"), "MLPTrunk, which no causal language model"),
        (lambda: make_agent("gru-tiny"), "GRUTrunk"),
        (lambda: make_agent("table"), "TableTrunk"),
        (lambda: make_agent("gpt2-tiny", heads=("q",)), "no policy but the heads q"),
        (lambda: make_agent({"kind": "gpt2", "policy_bias": True}), "policy head of this agent has a bias"),
    ],
)
def test_what_no_model_of_transformers_can_express_is_refused_by_its_part(make, says: str, tmp_path):
    with pytest.raises(TokenGymError, match=says):
        make().save_pretrained(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("dear")
    with pytest.raises(TokenGymError, match="not an empty folder"):
        AGENTS["gpt2"]().save_pretrained(tmp_path)
    assert (tmp_path / "mine").read_text() == "dear"


def test_a_model_that_transformers_computes_otherwise_is_not_written(tmp_path):
    agent = AGENTS["gpt2"]()
    agent.trunk.body.config.layer_norm_epsilon = 10.0  # what is read back will follow the configuration
    with pytest.raises(TokenGymError, match="differs from the agent by"):
        agent.save_pretrained(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_policy_of_an_agent_from_before_heads_without_a_bias_keeps_its_bias():
    config = AGENTS["gpt2"]().config()
    del config["spec"]["policy_bias"]
    assert "bias" in dict(rebuild_agent(config).readouts["policy"].named_parameters())
    assert "bias" not in dict(AGENTS["gpt2"]().readouts["policy"].named_parameters())


def test_a_tokens_name_may_hold_a_blank_and_begin_like_another():
    vocabulary = Vocabulary(("go", "go left", "left", "<bos>", "<pad>"), num_actions=3, bos=3, pad=4)
    assert tokenizer_of(vocabulary).encode("go go left left", add_special_tokens=False) == [0, 1, 2]


def test_the_model_shares_the_weights_of_the_agent():
    agent = AGENTS["instance, tied"]()
    model = language_model(agent)
    assert model.get_input_embeddings().weight is agent.trunk.body.get_input_embeddings().weight
