"""The bare steps of a decoder give the logits of its modules, and are used only where they are the whole
of it.
"""

import pytest
import torch
from peft import LoraConfig, get_peft_model

from hf_llmpath import LLMPathGPTConfig, LLMPathGPTForCausalLM
from hf_llmpath.decoding.bare_steps import LEAST_ROOM, BareStepper
from hf_llmpath.decoding.generation import Stepper, begin

LAYOUTS = {
    "gpt2": {"layout": "gpt2"},
    "modern": {},
    "grouped": {"num_key_value_heads": 2, "hidden_act": "swiglu", "qk_norm": False},
    "one key head, biases": {"num_key_value_heads": 1, "bias": True, "tie_word_embeddings": False},
}


def gpt(**options) -> LLMPathGPTForCausalLM:
    torch.manual_seed(0)
    sizes = {"vocab_size": 29, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LLMPathGPTForCausalLM(LLMPathGPTConfig(max_position_embeddings=256, **sizes, **options)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.3)
    return model


def prompts(is_padded: bool):
    generator = torch.Generator().manual_seed(1)
    ids, lengths = torch.randint(29, (3, 7), generator=generator), torch.tensor([7, 3, 1])
    mask = (
        (torch.arange(7) >= 7 - lengths[:, None]).long() if is_padded else torch.ones(3, 7, dtype=torch.long)
    )
    return ids, mask


@pytest.mark.parametrize("is_padded", [False, True], ids=["full rows", "padded rows"])
@pytest.mark.parametrize("options", LAYOUTS.values(), ids=LAYOUTS)
def test_they_give_the_logits_of_the_modules_past_the_first_room(options, is_padded):
    model, (ids, mask) = gpt(**options), prompts(is_padded)
    bare, modules = begin(model, ids, mask), Stepper(model, ids, mask)
    assert isinstance(bare, BareStepper)
    for step in range(LEAST_ROOM + 20):
        found, expected = bare.logits(), modules.logits()
        torch.testing.assert_close(
            found, expected, rtol=1e-4, atol=1e-4, msg=lambda text, step=step: f"step {step}: {text}"
        )
        tokens = expected.argmax(-1)
        bare.give(tokens)
        modules.give(tokens)


@pytest.mark.parametrize("is_padded", [False, True], ids=["full rows", "padded rows"])
def test_texts_that_are_repeated_and_change_places_keep_their_past(is_padded):
    model, (ids, mask) = gpt(), prompts(is_padded)
    steppers = [BareStepper(model, ids, mask), Stepper(model, ids, mask)]
    places = torch.tensor([1, 1, 3, 2, 5, 4])
    for stepper in steppers:
        stepper.logits()
        stepper.repeat(2)
        for step in range(4):
            stepper.give(torch.arange(6) + step)
            found = stepper.logits()
            stepper.reorder(places)
        stepper.found = found
    torch.testing.assert_close(steppers[0].found, steppers[1].found, rtol=1e-4, atol=1e-4)


def test_a_prompt_without_an_attention_mask_is_read_whole():
    model, (ids, _) = gpt(), prompts(False)
    torch.testing.assert_close(
        BareStepper(model, ids).logits(), model(ids).logits[:, -1], rtol=1e-4, atol=1e-4
    )


def test_a_model_that_is_more_than_its_layers_is_run_by_its_modules():
    model = gpt()
    assert BareStepper.fits(model)
    assert not BareStepper.fits(model.train())
    handle = model.eval().model.layers[0].register_forward_hook(lambda *_: None)
    assert not BareStepper.fits(model)
    handle.remove()
    adapted = get_peft_model(model, LoraConfig(target_modules=["q_proj"], r=2))
    assert not BareStepper.fits(adapted) and not BareStepper.fits(adapted.base_model.model.eval())


def test_without_the_cache_everything_is_read_again():
    assert type(begin(gpt(), *prompts(False), use_cache=False)) is Stepper
