"""Hidden states of a transformers model: T5, UMT5, an encoder like BERT, or a language model without its
head.

In: files and which layer. Out: a TextEncoder. transformers is loaded only when an encoder is asked for, from
local files only. Shapes: L tokens of a text, dim channels.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from model.text.base import TextEncoderBase
from model.text.files import CONFIG, WEIGHTS, TextFiles, check_inside, files_digest, find_folder, text_files
from model.untrusted import TOKENIZER_BYTES, check_safetensors_header, check_size, read_object

LAST = -1
_DEFAULT_TOKENS = 512  # of models whose positions are relative, so that they have no limit of their own
_NO_LIMIT = 10**9  # what tokenizers write as model_max_length if nothing limits them
_ENCODER_OF = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel", "umt5": "UMT5EncoderModel"}
# Their position table begins behind the id of padding, so it holds that many positions less than it has rows.
_SHIFTED_POSITIONS = (
    "camembert",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
)
# What a checkpoint may bring along in its own folder: plain encoders and language models, whose classes read
# nothing but their weights, and tokenizers that are a table of words.
ALLOWED_MODELS = (
    "bert", "distilbert", "gemma", "gemma2", "gemma3_text", "llama", "mistral", "mpnet", "mt5", "phi3",
    "qwen2", "qwen3", "roberta",
    "t5", "umt5", "xlm-roberta",
)  # fmt: skip
ALLOWED_TOKENIZERS = (
    "BertTokenizer", "CLIPTokenizer", "DistilBertTokenizer", "GemmaTokenizer", "LlamaTokenizer",
    "MPNetTokenizer", "PreTrainedTokenizer",
    "Qwen2Tokenizer", "RobertaTokenizer", "T5Tokenizer", "TokenizersBackend", "XLMRobertaTokenizer",
)  # fmt: skip
# any other is a kernel, which transformers may fetch from a hub and run
_PLAIN_ATTENTION = (None, "eager", "sdpa")
# Twice and more of what any published model has; what its class makes of a number, it makes before it sees
# the weights.
_MOST_LAYERS, _MOST_EXPERTS, _MOST_COUNT, _MOST_NUMBER, _MOST_ENTRIES = 256, 1024, 2**16, 2**40, 2**16
_LAYERS = ("layers", "layer", "num_hidden_groups")
_SPARE_PARAMETERS = 2**20


@dataclass(frozen=True, slots=True)
class HiddenStates:
    """Which hidden states of a network are embeddings.

    Attributes:
        title: what the fingerprint says besides the files' contents; it names no folder.
        dim: channels of a token.
        max_tokens: what is longer is cut.
        layer: -1 for the last hidden states, -2 for those one layer before, without the final normalisation.
    """

    title: str
    dim: int
    max_tokens: int
    layer: int = LAST


class TransformersTextEncoder(TextEncoderBase):
    """Hidden states of a transformers model in local files.

    Args:
        states: which of them are the embeddings.
        dtype: of weights and arithmetic; embeddings are float32. Weights are loaded as that, one copy of
        them.
    """

    def __init__(
        self,
        name: str,
        files: TextFiles,
        states: HiddenStates,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.name, self.files, self.device, self.dtype = name, files, torch.device(device), dtype
        self.dim, self.max_tokens, self.layer = states.dim, states.max_tokens, states.layer
        self._title = states.title

    @property
    def fingerprint(self) -> str:
        return files_digest(f"{self._title} hidden-states v1 max_tokens={self.max_tokens}", self.files.all)

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
            ValueError: the weights are not of the model that the config names, so that something would stay
                random; or they hold more than tensors.
        """
        import transformers

        base = self.files.config.parent
        with _quiet(), no_remote_code_prompt():
            tokenizer = _read_tokenizer(self.files.tokenizer[0].parent)
            config = _read_config(self.files, self.name)
            config.get_text_config().use_cache = False  # keys and values that nobody asks for again
            _check_parameters(config, self.files)
            name = _ENCODER_OF.get(config.model_type, "AutoModel")
            try:
                network, told = getattr(transformers, name).from_pretrained(
                    base,
                    config=config,
                    dtype=self.dtype,
                    local_files_only=True,
                    use_safetensors=self.files.weights[0].suffix == Path(WEIGHTS[0]).suffix,
                    weights_only=True,
                    output_loading_info=True,
                    **({"trust_remote_code": False} if name == "AutoModel" else {}),
                )
            except UnpicklingError as error:  # its message is a page of advice
                raise ValueError(
                    f"'{self.files.weights[0]}' holds more than tensors, or is damaged, so it is not read; "
                    "get the model's weights as safetensors"
                ) from error
        # it is never asked
        missing = sorted(key for key in told["missing_keys"] if "pooler" not in key.split("."))
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise ValueError(
                f"the weights in '{base}' are not those of the {type(network).__name__} that its {CONFIG} "
                f"describes: they lack {', '.join(missing[:3])}{more}; fetch both from the same place"
            )
        return tokenizer, network.eval().requires_grad_(False).to(self.device)


def transformers_encoder(
    kind: str,
    where: str,
    layer: int | None,
    max_tokens: int | None,
    device: torch.device | str,
    home: Path | None = None,
) -> TransformersTextEncoder:
    """The encoder in a folder, or of the hub: bfloat16 on a GPU, float32 on the CPU.

    Args:
        kind: t5, umt5, or hf for any that makes hidden states of text alone.
        layer: None for the last.
        max_tokens: None for 512 (t5, umt5) or the model's limit.
        home: the checkpoint's folder that brings the encoder along, which is then one of `ALLOWED_MODELS`, in
        safetensors.

    Raises:
        FileNotFoundError: something of it is not there, and how to get it.
        ValueError: it is a model of another kind, or has no such layer or not so many positions.
    """
    folder = find_folder(where, f"{kind}:{_EXAMPLES[kind]}")
    files = text_files(folder)
    _check_files(files, home)
    config = _read_config(files, f"{kind}:{where}")
    if kind != "hf" and config.model_type != kind:
        other = config.model_type if config.model_type in _EXAMPLES else "hf"
        raise ValueError(
            f"'{where}' holds a model of type '{config.model_type}', not {kind}; name it {other}:{where}"
        )
    if config.is_encoder_decoder and config.model_type not in _ENCODER_OF:
        raise ValueError(
            f"'{where}' holds a model of type '{config.model_type}', which encodes and decodes; of such only "
            f"{', '.join(_ENCODER_OF)} are known: choose one of those, an encoder, or a language model"
        )
    text = config.get_text_config()
    if layer is not None and not -text.num_hidden_layers <= layer <= LAST:
        raise ValueError(
            f"layer={layer} of text encoder {kind}:{where} is not there; it has -1 (the last) to "
            f"-{text.num_hidden_layers}"
        )
    limit = _limit(config, files)
    if max_tokens is not None and limit is not None and max_tokens > limit:
        raise ValueError(
            f"max={max_tokens} is more than text encoder {kind}:{where} reads; it reads {limit} tokens"
        )
    tokens = max_tokens or limit or _DEFAULT_TOKENS
    layer = LAST if layer is None else layer
    where = str(folder) if Path(where).expanduser().is_dir() else where
    options = (f"@layer={layer}" if layer != LAST else "") + (f"@max={max_tokens}" if max_tokens else "")
    names = ",".join(file.name for file in files.all)
    return TransformersTextEncoder(
        f"{kind}:{where}{options}",
        files,
        HiddenStates(f"transformers layer={layer} {names}", int(text.hidden_size), tokens, layer),
        device=device,
        dtype=torch.bfloat16 if torch.device(device).type == "cuda" else torch.float32,
    )


_EXAMPLES = {"t5": "google/t5-v1_1-xxl", "umt5": "google/umt5-xxl", "hf": "Qwen/Qwen3-0.6B"}


def _check_files(files: TextFiles, home: Path | None) -> None:
    """What the files may be, before transformers opens one.

    Raises:
        ValueError: one is larger, names more, or asks for other than it may.
    """
    if home is not None:
        check_inside(files.all, home)
        if others := [file.name for file in files.weights if file.suffix != Path(WEIGHTS[0]).suffix]:
            raise ValueError(
                f"'{files.config.parent}' has weights in {others[0]}; of an encoder that a checkpoint "
                "brings along only safetensors are read"
            )
    base = files.config.parent
    if (base / "adapter_config.json").exists():
        raise ValueError(
            f"'{base}' holds an adapter beside the model (adapter_config.json); merge it, or remove it"
        )
    told = read_object(files.config)
    _check_config(told, files.config)
    if home is not None and told.get("model_type") not in ALLOWED_MODELS:
        raise ValueError(
            f"{files.config}: '{str(told.get('model_type'))[:80]}' is no kind of model that a checkpoint "
            f"may bring along; those are {', '.join(ALLOWED_MODELS)}; another is read where you name its "
            "folder with text_encoder="
        )
    for file in files.weights:
        if file.suffix == Path(WEIGHTS[0]).suffix:
            check_safetensors_header(file)
    check_tokenizer(files.tokenizer[0].parent, files.tokenizer, closed=home is not None)


def check_tokenizer(folder: Path, files: Iterable[Path], closed: bool) -> None:
    """What the files of a tokenizer may be, before transformers opens one.

    Args:
        closed: its class must be one of `ALLOWED_TOKENIZERS`.

    Raises:
        ValueError: one is too large, or asks for other than it may.
    """
    for file in files:
        check_size(file, TOKENIZER_BYTES)
    path = folder / "tokenizer_config.json"
    told = read_object(path) if path.is_file() else {}
    if told.get("init_inputs"):  # the arguments of its class, of which the first is a file
        raise ValueError(
            f"{path} has init_inputs, which could name any file; save the tokenizer again with "
            "save_pretrained"
        )
    name = told.get("tokenizer_class")
    if closed and name is not None and str(name).removesuffix("Fast") not in ALLOWED_TOKENIZERS:
        raise ValueError(
            f"{path}: '{str(name)[:80]}' is no tokenizer that a checkpoint may bring along; those are "
            f"{', '.join(ALLOWED_TOKENIZERS)}"
        )


def _check_config(told: Mapping[str, Any], path: Path) -> None:
    """Raises ValueError for a config that names code, or numbers that no model has."""
    level: list[Any] = [told]
    while level:
        inner: list[Any] = []
        for one in level:
            for name, value in one.items():
                _check_setting(name, value, path)
                inner += [
                    each for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict)
                ]
        level = inner


def _check_setting(name: str, value: Any, path: Path) -> None:
    where = f"{path}: {name[:80]}"
    if name.strip("_").removesuffix("_internal") in ("attn_implementation", "experts_implementation"):
        if not isinstance(value, str | None) or value not in _PLAIN_ATTENTION:
            raise ValueError(f"{where}={str(value)[:80]} could be code of a hub; remove it from the config")
    elif name == "quantization_config" and value:
        raise ValueError(f"{where}: quantised weights are not read; take the model in bf16 or fp32")
    elif isinstance(value, list) and len(value) > _MOST_ENTRIES:
        raise ValueError(f"{where} has {len(value):,} entries: at most {_MOST_ENTRIES:,}")
    elif isinstance(value, int | float):
        most = _MOST_NUMBER if isinstance(value, int) else float("inf")
        if name.startswith(("n_", "num_")):
            most = _MOST_EXPERTS if "expert" in name else _MOST_COUNT
        if name.endswith(_LAYERS):
            most = _MOST_LAYERS
        if abs(value) > most:
            raise ValueError(f"{where}={value} is too large: at most {most:,}")


def _check_parameters(config: Any, files: TextFiles) -> None:
    """Check the model size: parameters without weights would be allocated all the same.

    Raises:
        ValueError: the network has far more parameters than its files have bytes.
    """
    import transformers

    name, size = _ENCODER_OF.get(config.model_type), sum(file.stat().st_size for file in files.weights)
    try:
        with torch.device("meta"):
            if name is None:
                network = transformers.AutoModel.from_config(config, trust_remote_code=False)
            else:
                network = getattr(transformers, name)(config)
    except Exception as error:  # of any kind: a config can say anything, and its class takes it at its word
        raise ValueError(
            f"{files.config} makes no network ({type(error).__name__}: {_first_line(error)}); was it edited?"
        ) from error
    count = sum(parameter.numel() for parameter in network.parameters())
    if count > 2 * size + _SPARE_PARAMETERS:
        raise ValueError(
            f"{files.config} describes a network of {count:,} parameters, and its weights have {size:,} "
            "bytes; was it edited?"
        )


def _read_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # of any kind: the files are anybody's, and what reads them raises what it likes
    except Exception as error:
        raise ValueError(
            f"the tokenizer in '{folder}' can't be read ({type(error).__name__}: {_first_line(error)}); "
            "code of its own is never run"
        ) from error
    tokenizer.truncation_side = "right"
    return tokenizer


def _read_config(files: TextFiles, spec: str) -> Any:
    from transformers import AutoConfig

    try:
        with no_remote_code_prompt():
            return AutoConfig.from_pretrained(
                files.config.parent, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # of any kind: see `_read_tokenizer`
        code = ", and code of its own is never run" if read_object(files.config).get("auto_map") else ""
        raise ValueError(
            f"{files.config} of text encoder {spec} is not a config that the installed transformers "
            f"knows{code} ({_first_line(error)})"
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")[:200]


def _limit(config: Any, files: TextFiles) -> int | None:
    """Tokens that the model reads; None if nothing limits them."""
    if config.model_type in _ENCODER_OF:
        return None
    text, limits = config.get_text_config(), []
    if positions := getattr(text, "max_position_embeddings", None):
        shifted = text.pad_token_id + 1 if config.model_type in _SHIFTED_POSITIONS else 0
        limits.append(int(positions) - shifted)
    told = files.tokenizer[0].parent / "tokenizer_config.json"
    if told.is_file() and isinstance(length := read_object(told).get("model_max_length"), int | float):
        limits.append(int(length) or _NO_LIMIT)
    return min((limit for limit in limits if limit < _NO_LIMIT), default=None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' warnings: missing weights are checked here, and unused ones (a head) are
    expected."""
    from transformers.utils import logging as hf_logging

    level = hf_logging.get_verbosity()
    hf_logging.disable_progress_bar()
    hf_logging.set_verbosity_error()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)


@contextmanager
def no_remote_code_prompt() -> Iterator[None]:
    """No library asks at the terminal whether to run a model's code: where nothing was said, it doesn't wait,
    and refuses."""
    from transformers import dynamic_module_utils

    patience = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    try:
        yield
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = patience
