"""Models of the real classes with few random weights, saved as their makers save them: what tests configure.

In: a folder. Out: the files that a config names. The numbers they give mean nothing, but every step to them is real.
"""

import json
import os
from pathlib import Path

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


def parents_threads() -> int:
    """Of the process that forked this one."""
    return len(os.listdir(f"/proc/{os.getppid()}/task"))
