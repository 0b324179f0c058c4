"""Models of the real classes with few random weights, saved as their makers save them: what tests configure.

In: a folder. Out: the files that a config names. The numbers they give mean nothing, but every step to them
is real.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

WIDTH = 32  # of the tiny CLIP's embeddings


def tiny_clip(folder: Path, seed: int = 0) -> str:
    """An open_clip model with random weights in a folder; what `scores.clip_model` is set to."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    vision = {"image_size": 32, "patch_size": 16, "layers": 2, "width": 64, "head_width": 32}
    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    torch.manual_seed(seed)
    model = open_clip.CLIP(embed_dim=WIDTH, vision_cfg=vision, text_cfg=text)
    torch.nn.init.normal_(model.text_projection)  # texts of a fresh model are too alike to be told apart
    config = {"model_cfg": {"embed_dim": WIDTH, "vision_cfg": vision, "text_cfg": text}, "preprocess_cfg": {}}
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"


def tiny_text(folder: Path, kind: str, pieces: int = 1, seed: int = 0, **settings: object) -> Path:
    """A text model of transformers with random weights and its tokenizer in a folder, as its makers save it.

    Args:
        kind: t5, umt5, bert, llama or qwen3; the last two with their head, as they are published.
        pieces: files that the weights are spread over, at least.
        settings: of its config.
    """
    import torch
    import transformers

    common = {"vocab_size": len(_WORDS) + len(_MARKS), "pad_token_id": 0}
    t5 = common | {
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 3,
        "num_heads": 4,
        "decoder_start_token_id": 0,
    }
    other = common | {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
    }
    causal = other | {
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    sizes, config, model = {
        "t5": (t5, transformers.T5Config, transformers.T5ForConditionalGeneration),
        "umt5": (t5, transformers.UMT5Config, transformers.UMT5EncoderModel),
        "bert": (
            other | {"max_position_embeddings": 40},
            transformers.BertConfig,
            transformers.BertForMaskedLM,
        ),
        "llama": (causal, transformers.LlamaConfig, transformers.LlamaForCausalLM),
        "qwen3": (causal | {"head_dim": 8}, transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
    }[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = model(config(**sizes | settings))
    size_bytes = sum(tensor.nbytes for tensor in network.state_dict().values())
    network.save_pretrained(folder, max_shard_size=size_bytes // pieces + 1 if pieces > 1 else "5GB")
    _word_tokenizer(kind).save_pretrained(folder)
    return folder


_MARKS = ("<pad>", "<s>", "</s>", "<unk>")
_WORDS = ("a", "dog", "white", "red", "kite", "runs", "over", "green", "grass", "word")


def _word_tokenizer(kind: str) -> Any:
    """Marks are set as models of that kind have them: T5 at the end, BERT around, Llama before, Qwen none and
    no padding."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = [*_MARKS, *_WORDS]
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    around = {"t5": "$A </s>", "umt5": "$A </s>", "bert": "<s> $A </s>", "llama": "<s> $A"}.get(kind)
    if around:
        marks = [(mark, vocabulary.index(mark)) for mark in ("<s>", "</s>")]
        words.post_processor = processors.TemplateProcessing(single=around, special_tokens=marks)
    padding = {} if kind in ("llama", "qwen3") else {"pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="</s>", **padding)


def tiny_wan(folder: Path, **settings: object) -> Path:
    """A Wan VAE with random weights in a folder, as diffusers saves it: 4 latent channels, strides of 4 and
    8."""
    from diffusers import AutoencoderKLWan

    settings = {"latents_mean": [-1.0, 0.0, 0.5, 2.0], "latents_std": [0.5, 1.0, 2.0, 3.0], **settings}
    return _saved(
        folder, AutoencoderKLWan, base_dim=8, z_dim=4, dim_mult=[1, 2, 2, 2], num_res_blocks=1, **settings
    )


def tiny_cogvideox(folder: Path, **settings: object) -> Path:
    """A CogVideoX VAE with random weights in a folder, as diffusers saves it: 4 latent channels, strides of 4
    and 8."""
    from diffusers import AutoencoderKLCogVideoX

    settings = {
        "scaling_factor": 0.5,
        "shift_factor": 0.25,
        "norm_num_groups": 2,
        "layers_per_block": 1,
        **settings,
    }
    return _saved(
        folder, AutoencoderKLCogVideoX, block_out_channels=(8, 8, 8, 8), latent_channels=4, **settings
    )


def _saved(folder: Path, kind: Any, **settings: object) -> Path:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kind(**settings).save_pretrained(folder)
    return folder


def parents_threads() -> int:
    """Of the process that forked this one."""
    return len(os.listdir(f"/proc/{os.getppid()}/task"))


def tiny_dover(path: Path, windows: int | None = 3, outputs: int = 2) -> Path:
    """A network with DOVER's inputs and outputs as ONNX: each output is the mean of its view, weighted by the
    random numbers of `dover_weights`. Its bytes are written here, by onnx.proto: nothing else needs the
    package `onnx`.

    Args:
        windows: of the technical view; left open if None.
    """
    weights = dover_weights()
    nodes, names = [], (("aes_view", 1), ("tech_view", windows))
    for view, _ in names:
        nodes += [
            _node("Mul", [view, "places"], f"{view}_placed"),
            _node("Mul", [f"{view}_placed", "times"], f"{view}_all"),
        ]
        nodes += [_node("ReduceMean", [f"{view}_all"], f"{view}_score", axes=(1, 2, 3, 4), keepdims=(0,))]
    given = [_value(view, (batch, 3, 32, 224, 224)) for view, batch in names]
    taken = [_value(f"{view}_score", (batch,)) for view, batch in names][:outputs]
    graph = b"".join(
        [_field(1, node) for node in nodes]
        + [_field(2, b"tiny")]
        + [_field(5, _tensor(name, value)) for name, value in weights.items()]
        + [_field(11, value) for value in given]
        + [_field(12, value) for value in taken]
    )
    path.write_bytes(_field(1, 8) + _field(7, graph) + _field(8, _field(2, 13)))
    return path


def dover_weights() -> dict[str, np.ndarray]:
    """What the tiny DOVER multiplies its views (N, C, T, H, W) with."""
    rng = np.random.default_rng(7)
    return {
        "places": rng.normal(size=(1, 3, 1, 224, 224)).astype(np.float32),
        "times": rng.normal(size=(1, 1, 32, 1, 1)).astype(np.float32),
    }


def _field(number: int, value: int | bytes) -> bytes:
    """A field of a protobuf message: a varint, or bytes with their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _node(kind: str, inputs: list[str], output: str, **ints: tuple[int, ...]) -> bytes:
    out = (
        b"".join(_field(1, name.encode()) for name in inputs)
        + _field(2, output.encode())
        + _field(4, kind.encode())
    )
    for name, values in ints.items():
        one = name == "keepdims"  # a single number, the others are lists
        content = _field(3, values[0]) if one else b"".join(_field(8, value) for value in values)
        out += _field(5, _field(1, name.encode()) + content + _field(20, 2 if one else 7))
    return out


def _tensor(name: str, values: np.ndarray) -> bytes:
    dims = b"".join(_field(1, size) for size in values.shape)
    return dims + _field(2, 1) + _field(8, name.encode()) + _field(9, values.tobytes())


def _value(name: str, shape: tuple[int | None, ...]) -> bytes:
    dims = b"".join(_field(1, _field(2, b"open") if size is None else _field(1, size)) for size in shape)
    return _field(1, name.encode()) + _field(2, _field(1, _field(1, 1) + _field(2, dims)))
