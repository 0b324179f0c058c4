"""Code of an attacker in the forms in which it comes: a Python module, a pickle, folders of models that name
either.

In: the mark that it leaves where it runs. Out: files. All it does is to write that mark.
"""

import json
import pickle
import zipfile
from hashlib import md5
from pathlib import Path
from typing import Any

SOURCE = """
from pathlib import Path
Path({mark!r}).write_text("ran")
from transformers import BertConfig, BertModel, BertTokenizerFast
class EvilConfig(BertConfig): model_type = {kind!r}
class EvilModel(BertModel): config_class = EvilConfig
class EvilTokenizer(BertTokenizerFast): pass
"""


class Payload:
    """Pickled, it writes the mark when it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.write_text, (self.mark, "ran")


def pickled(path: Path, mark: Path, zipped: bool = False) -> None:
    """Weights as torch.save writes them, in its older or newer form."""
    data = pickle.dumps({"weight": Payload(mark)}, protocol=2)
    if not zipped:
        path.write_bytes(data)
        return
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")


def model_folder(folder: Path, mark: Path, how: str) -> None:
    """A model of transformers whose files name code: `how` is config, tokenizer, both, type (one of its own),
    or pickle."""
    import transformers

    from tests.support.tiny_models import tiny_text

    transformers.utils.logging.disable_progress_bar()
    tiny_text(folder, "bert")
    module = f"evil_{md5(str(folder).encode()).hexdigest()[:8]}"
    kind = "evilkind" if how == "type" else "bert"
    (folder / f"{module}.py").write_text(SOURCE.format(mark=str(mark), kind=kind))
    classes = {
        "AutoConfig": f"{module}.EvilConfig",
        "AutoModel": f"{module}.EvilModel",
        "AutoModelForCausalLM": f"{module}.EvilModel",
    }
    tokens = {"AutoTokenizer": [f"{module}.EvilTokenizer", f"{module}.EvilTokenizer"]}
    config, tokenizer = folder / "config.json", folder / "tokenizer_config.json"
    if how in ("config", "both", "type"):
        _add(config, auto_map={**classes, **tokens}, architectures=["EvilModel"])
    if how == "type":
        _add(config, model_type="evilkind")
    if how in ("tokenizer", "both", "type"):
        _add(tokenizer, auto_map=tokens, tokenizer_class="EvilTokenizer", trust_remote_code=True)
    if how == "pickle":
        (folder / "model.safetensors").unlink()
        pickled(folder / "pytorch_model.bin", mark, zipped=True)


def clip_folder(folder: Path, mark: Path, how: str) -> None:
    """A model of open_clip whose files lead to code: `how` is kwargs, hf_tokenizer, hf_model, pickle or
    pickle_old."""
    from tests.support.tiny_models import tiny_clip

    tiny_clip(folder)
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    text = config["model_cfg"]["text_cfg"]
    if how in ("kwargs", "hf_tokenizer", "hf_model"):
        model_folder(folder / "words", mark, "both")
        text["hf_tokenizer_name"] = str(folder / "words")
    if how in ("kwargs", "hf_tokenizer"):
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes((folder / "words" / name).read_bytes())
        for code in (folder / "words").glob("evil_*.py"):
            (folder / code.name).write_bytes(code.read_bytes())
        text["hf_tokenizer_name"] = "any"
    if how == "kwargs":
        text["tokenizer_kwargs"] = {"trust_remote_code": True}
    if how == "hf_model":
        text |= {
            "hf_model_name": str(folder / "words"),
            "hf_proj_type": "linear",
            "hf_pooler_type": "mean_pooler",
        }
        text["hf_model_config"] = {"trust_remote_code": True}
        text["tokenizer_kwargs"] = {"trust_remote_code": True}
    path.write_text(json.dumps(config))
    if how.startswith("pickle"):
        (folder / "open_clip_model.safetensors").unlink()
        pickled(folder / "open_clip_pytorch_model.bin", mark, zipped=how == "pickle")


def _add(path: Path, **values: Any) -> None:
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**known, **values}))
