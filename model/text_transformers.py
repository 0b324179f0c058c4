"""Hidden states of a transformers model: T5, UMT5, an encoder like BERT, or a language model without its head.

In: files and which layer. Out: a TextEncoder. transformers is loaded only when an encoder is asked for, from local files
only. Shapes: L tokens of a text, dim channels.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.text_base import OneByOne
from model.text_files import CONFIG, WEIGHTS, TextFiles, digest_of, find_folder, text_files

LAST = -1
_DEFAULT_TOKENS = 512  # of models whose positions are relative, so that they have no limit of their own
_NO_LIMIT = 10**9  # what tokenizers write as model_max_length if nothing limits them
_ENCODER_OF = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel", "umt5": "UMT5EncoderModel"}
# Their position table begins behind the id of padding, so it holds that many positions less than it has rows.
_SHIFTED_POSITIONS = ("camembert", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl")


class TransformersTextEncoder(OneByOne):
    """Hidden states of a transformers model in local files.

    Args:
        title: what the fingerprint says besides the files' contents; it names no folder.
        layer: -1 for the last hidden states, -2 for those one layer before, without the final normalisation.
        dtype: of weights and arithmetic; embeddings are float32. Weights are loaded as that, one copy of them.
    """

    def __init__(
        self,
        name: str,
        files: TextFiles,
        *,
        title: str,
        dim: int,
        max_tokens: int,
        layer: int = LAST,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.name, self.files, self.dim, self.max_tokens, self.layer = name, files, dim, max_tokens, layer
        self.device, self.dtype, self._title = torch.device(device), dtype, title

    @property
    def fingerprint(self) -> str:
        return digest_of(f"{self._title} hidden-states v1 max_tokens={self.max_tokens}", self.files.all)

    @torch.no_grad()
    def encode_one(self, text: str) -> tuple[Tensor, bool]:
        tokenizer, network = self._parts
        ids = tokenizer(text, truncation=False, verbose=False)["input_ids"]
        cut = len(ids) > self.max_tokens
        if cut:  # again, since only the tokenizer knows which marks belong at the end
            ids = tokenizer(text, truncation=True, max_length=self.max_tokens, verbose=False)["input_ids"]
        if not ids:  # no text, and a tokenizer that sets no marks
            return torch.zeros(0, self.dim), False
        ids_1L = torch.tensor([ids], device=self.device)
        inner = self.layer != LAST
        made = network(input_ids=ids_1L, attention_mask=torch.ones_like(ids_1L), output_hidden_states=inner)
        hidden_1LD = made.hidden_states[self.layer] if inner else made.last_hidden_state
        return hidden_1LD[0].float().cpu(), cut

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        """Tokenizer and network.

        Raises:
            ValueError: the weights are not of the model that the config names: something would stay random.
        """
        import transformers

        base = self.files.config.parent
        with _quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                self.files.tokenizer[0].parent, local_files_only=True
            )
            tokenizer.truncation_side = "right"
            config = transformers.AutoConfig.from_pretrained(base, local_files_only=True)
            config.get_text_config().use_cache = False  # keys and values that nobody asks for again
            kind = getattr(transformers, _ENCODER_OF.get(config.model_type, "AutoModel"))
            network, told = kind.from_pretrained(
                base,
                config=config,
                dtype=self.dtype,
                local_files_only=True,
                use_safetensors=self.files.weights[0].suffix == Path(WEIGHTS[0]).suffix,
                output_loading_info=True,
            )
        missing = sorted(key for key in told["missing_keys"] if "pooler" not in key.split("."))  # it is never asked
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise ValueError(
                f"the weights in '{base}' are not those of the {type(network).__name__} that its {CONFIG} describes: they lack "
                f"{', '.join(missing[:3])}{more}; fetch both from the same place"
            )
        return tokenizer, network.eval().requires_grad_(False).to(self.device)


def transformers_encoder(
    kind: str, where: str, layer: int | None, max_tokens: int | None, device: torch.device | str
) -> TransformersTextEncoder:
    """The encoder in a folder, or of the hub: bfloat16 on a GPU, float32 on the CPU.

    Args:
        kind: t5, umt5, or hf for any that makes hidden states of text alone.
        layer: None for the last.
        max_tokens: None for 512 (t5, umt5) or the model's limit.

    Raises:
        FileNotFoundError: something of it is not there, and how to get it.
        ValueError: it is a model of another kind, or has no such layer or not so many positions.
    """
    folder = find_folder(where, f"{kind}:{_EXAMPLES[kind]}")
    files = text_files(folder)
    config = _read_config(files, f"{kind}:{where}")
    if kind != "hf" and config.model_type != kind:
        other = config.model_type if config.model_type in _EXAMPLES else "hf"
        raise ValueError(f"'{where}' holds a model of type '{config.model_type}', not {kind}; name it {other}:{where}")
    if config.is_encoder_decoder and config.model_type not in _ENCODER_OF:
        raise ValueError(
            f"'{where}' holds a model of type '{config.model_type}', which encodes and decodes; of such only "
            f"{', '.join(_ENCODER_OF)} are known: choose one of those, an encoder, or a language model"
        )
    text = config.get_text_config()
    if layer is not None and not -text.num_hidden_layers <= layer <= LAST:
        raise ValueError(
            f"layer={layer} of text encoder {kind}:{where} is not there; it has -1 (the last) to -{text.num_hidden_layers}"
        )
    limit = _limit(config, files)
    if max_tokens is not None and limit is not None and max_tokens > limit:
        raise ValueError(f"max={max_tokens} is more than text encoder {kind}:{where} reads; it reads {limit} tokens")
    tokens = max_tokens or limit or _DEFAULT_TOKENS
    layer = LAST if layer is None else layer
    where = str(folder) if Path(where).expanduser().is_dir() else where
    options = (f"@layer={layer}" if layer != LAST else "") + (f"@max={max_tokens}" if max_tokens else "")
    names = ",".join(file.name for file in files.all)
    return TransformersTextEncoder(
        f"{kind}:{where}{options}",
        files,
        title=f"transformers layer={layer} {names}",
        dim=int(text.hidden_size),
        max_tokens=tokens,
        layer=layer,
        device=device,
        dtype=torch.bfloat16 if torch.device(device).type == "cuda" else torch.float32,
    )


_EXAMPLES = {"t5": "google/t5-v1_1-xxl", "umt5": "google/umt5-xxl", "hf": "Qwen/Qwen3-0.6B"}


def _read_config(files: TextFiles, spec: str) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(files.config.parent, local_files_only=True)
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"{files.config} of text encoder {spec} is not a config that the installed transformers knows "
            f"({str(error).splitlines()[0]})"
        ) from error


def _limit(config: Any, files: TextFiles) -> int | None:
    """Tokens that the model reads; None if nothing limits them."""
    if config.model_type in _ENCODER_OF:
        return None
    text, limits = config.get_text_config(), []
    if positions := getattr(text, "max_position_embeddings", None):
        shifted = text.pad_token_id + 1 if config.model_type in _SHIFTED_POSITIONS else 0
        limits.append(int(positions) - shifted)
    told = files.tokenizer[0].parent / "tokenizer_config.json"
    if told.is_file():
        limits.append(int(json.loads(told.read_text(encoding="utf-8")).get("model_max_length") or _NO_LIMIT))
    return min((limit for limit in limits if limit < _NO_LIMIT), default=None)


@contextmanager
def _quiet() -> Iterator[None]:
    """The console belongs to the job; what is missing is looked for by us, what is too much (a head) is meant."""
    from transformers.utils import logging as hf_logging

    level = hf_logging.get_verbosity()
    hf_logging.disable_progress_bar()
    hf_logging.set_verbosity_error()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
