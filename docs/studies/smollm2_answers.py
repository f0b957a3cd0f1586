"""What an exported policy answers in plain transformers: `python docs/studies/smollm2_answers.py FOLDER`.

Nothing of tokengym is imported. Each beginning is gone on with eight times, drawn from the whole distribution, as the
policy was trained to act; before the first answer stands how many words of a lexicon the eight have on average, good
less bad.
"""

import argparse
import re

import torch
import transformers

BEGINNINGS = ("The tea is", "The hotel was", "Our teacher is", "The weather was")
GOOD = "amazing beautiful best bright calm charming clean delicious excellent fresh friendly fun good great happy kind"
GOOD += " love lovely nice peaceful perfect pleasant quiet safe soft sweet tasty warm welcoming wonderful"
BAD = "angry awful bad bitter boring broken cold dark dirty dull empty hard horrible loud miserable noisy old poor"
BAD += " rude sad sick slow small sour stale terrible tired ugly weak wrong"


def balance(text: str) -> int:
    """Return how many different good words a text has, less the bad ones."""
    words = set(re.findall(r"\w+", text.lower()))
    return len(words & set(GOOD.split())) - len(words & set(BAD.split()))


def main() -> None:
    """Print the answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="written by `tokengym export`, or any causal language model")
    folder = parser.parse_args().folder
    torch.manual_seed(0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    model.generation_config.max_length = None  # an export's is the task's context; the number of new tokens is given
    for beginning in BEGINNINGS:
        ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(beginning, add_special_tokens=False)["input_ids"]]] * 8)
        said = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=20,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
        texts = [tokenizer.decode(row[ids.shape[1] :], skip_special_tokens=True) for row in said]
        print(f"{sum(map(balance, texts)) / len(texts):+.2f}  {beginning}{texts[0]}")


if __name__ == "__main__":
    main()
