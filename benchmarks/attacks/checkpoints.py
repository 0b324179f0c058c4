"""Line 1: folders of models, adapters and datasets whose files name code, pickles, models or folders
elsewhere.

In: a place. Out: cases. Most are read as `rushes generate` reads them (`readers.py`), some by the command
itself; at the terminal everything is answered with yes.
"""

import json
import shutil
import sys
from pathlib import Path
from random import Random

from benchmarks.attacks.hostile_code import clip_folder, model_folder, pickled
from benchmarks.attacks.judging import RAN_CODE
from benchmarks.attacks.material import QUICK_CURATION, TINY_VIDEO, edit_json, rewrite
from benchmarks.attacks.place import Place
from benchmarks.attacks.readers import Reading
from benchmarks.attacks.registry import attack

_YES = "y\nyes\n" * 20
_FINGERPRINTS = """
import json, sys
from model.text.registry import text_encoder
for name in json.load(sys.stdin):
    try:
        print(json.dumps([name, text_encoder(name).fingerprint]))
    except Exception as error:
        print(json.dumps([name, "0" * 16]))
"""
_MODELS = ("config", "tokenizer", "both", "type", "pickle")
_CLIPS = ("kwargs", "hf_tokenizer", "hf_model", "pickle", "pickle_old")


@attack(line=1, quick=True)
def checkpoints_that_bring_an_encoder(place: Place, draw: Random) -> None:
    """pipeline.json names a folder: inside the checkpoint, above it, elsewhere, by its path or through a
    link."""
    named: dict[str, tuple[Path, str]] = {}
    for kind, hows in (("hf", _MODELS), ("clip", _CLIPS)):
        for how in hows:
            for where in (
                ("inside", "above", "absolute", "link") if how in ("both", "kwargs") else ("inside",)
            ):
                case = place.case(f"{kind}_{how}_{where}")
                folder = place.material.copy_checkpoint(place.work / f"c{len(named)}")
                at = _put(
                    place, folder, where, lambda to, how=how, kind=kind: _evil(kind, to, place.mark(), how)
                )
                named[case] = folder, f"hf:{at}" if kind == "hf" else f"clip:local-dir:{at}@pooled"
    _name(place, named)
    place.read([Reading(case, "pipeline", str(folder)) for case, (folder, _) in named.items()], typed=_YES)


@attack(line=1)
def checkpoints_that_bring_an_encoder_by_command(place: Place, draw: Random) -> None:
    """The same with `rushes generate` beside the folder, as one tries what one has downloaded."""
    for kind, how in (("clip", "kwargs"), ("hf", "both")):
        case = place.case(f"{kind}_{how}")
        folder = place.material.copy_checkpoint(place.work / f"evil_{kind}")
        _evil(kind, folder / "text", place.mark(), how)
        spec = f"hf:evil_{kind}/text" if kind == "hf" else f"clip:local-dir:evil_{kind}/text@pooled"
        _name(place, {case: (folder, spec)})
        place.rushes("generate", f"checkpoint=evil_{kind}", f"out=o/{kind}.mp4", *TINY_VIDEO, typed=_YES)


@attack(line=1)
def encoders_that_a_user_names(place: Place, draw: Random) -> None:
    """The user names the folder itself: it is read, and its code still does not run."""
    readings = []
    for how in _MODELS:
        case = place.case(f"hf_{how}")
        model_folder(place.work / f"hf_{how}", place.mark(), how)
        readings.append(Reading(case, "text", f"hf:{place.work}/hf_{how}"))
    for how in _CLIPS:
        case = place.case(f"clip_{how}")
        clip_folder(place.work / f"clip_{how}", place.mark(), how)
        readings.append(Reading(case, "text", f"clip:local-dir:{place.work}/clip_{how}@pooled"))
    place.read(readings, typed=_YES)


@attack(line=1, quick=True)
def weights_that_lead_elsewhere(place: Place, draw: Random) -> None:
    """Weights that are pickles; indices of weights, and settings, that name files elsewhere."""
    readings = []

    def spoilt(name: str, what: str = "pipeline") -> Path:
        case = place.case(name)
        folder = place.material.copy_checkpoint(place.work / name)
        readings.append(Reading(case, what, str(folder if what == "pipeline" else folder / what)))
        return folder

    for part in ("dit", "vae"):
        for zipped in (False, True):
            folder = spoilt(f"{part}_pickle_{'zip' if zipped else 'old'}", part)
            pickled(folder / part / "model.safetensors", place.mark(), zipped)
        for name in ("pytorch_model.bin", "model.pt", "diffusion_pytorch_model.bin"):
            folder = spoilt(f"{part}_{name.partition('.')[0]}_{name[-2:]}", part)
            (folder / part / "model.safetensors").unlink()
            pickled(folder / part / name, place.mark(), zipped=True)
        outside = place.victim / f"{part}.safetensors"
        shutil.copy(place.material.training / "export" / part / "model.safetensors", outside)
        for way, path in (("up", f"../../../victim/{part}.safetensors"), ("absolute", str(outside))):
            folder = spoilt(f"{part}_index_{way}", part)
            _index(folder / part, path)
    for number, name in enumerate(
        ("os.system", "../AutoencoderKLWan", "torch.load", "StableDiffusionPipeline", "FromFile")
    ):
        folder = spoilt(f"vae_class_{number}", "vae")
        (folder / "vae" / "config.json").write_text(
            json.dumps(
                {"_class_name": name, "_diffusers_version": "0.35.0", "auto_map": {"AutoModel": "evil.Evil"}}
            )
        )
        (folder / "vae" / "evil.py").write_text(f"open({str(place.mark())!r}, 'w')\n")
    for key, value in (
        ("vae", str(place.victim)),
        ("dit", "../../victim"),
        ("_target_", "os.system"),
        ("text", "hf:/victim"),
    ):
        edit_json(spoilt(f"pipeline_{key}") / "pipeline.json", **{key: value})
    place.read(readings, typed=_YES)


@attack(line=1)
def adapters_that_lead_elsewhere(place: Place, draw: Random) -> None:
    """adapter_config.json that names a base model, modules of its own, or code; adapters that are pickles."""
    place.case("sound")
    adapter = place.work / "sound"
    made = (
        "from model.checkpoint.weights import load_dit; from model.checkpoint.lora import add_lora, "
        f"save_lora; d = load_dit({str(place.material.training / 'export' / 'dit')!r}); add_lora(d, 2); "
        f"save_lora(d, {str(adapter)!r})"
    )
    place.hold(place.run([sys.executable, "-c", made]).code == 0, "no sound adapter could be made")
    edits = {
        "base_model": {"base_model_name_or_path": str(place.victim)},
        "auto_mapping": {"auto_mapping": {"base_model_class": "Evil", "parent_library": "evil"}},
        "modules": {"modules_to_save": ["text", "../../victim"], "target_modules": "all-linear"},
        "eva": {"init_lora_weights": "eva", "eva_config": {"rho": 2.0}},
        "loftq": {"init_lora_weights": "loftq", "loftq_config": {"loftq_bits": 4}},
        "corda": {
            "init_lora_weights": "corda",
            "corda_config": {"cache_file": str(place.victim / "secret.txt")},
        },
        "megatron": {"megatron_config": {"a": 1}, "megatron_core": "evil"},
        "runtime": {"runtime_config": {"ephemeral_gpu_offload": True}},
        "unknown": {"_target_": "os.system", "command": "id"},
    }
    readings = []
    for name, values in edits.items():
        case = place.case(name)
        folder = Path(shutil.copytree(adapter, place.work / name))
        edit_json(folder / "adapter_config.json", **values)
        (folder / "evil.py").write_text(f"open({str(place.mark())!r}, 'w')\n")
        readings.append(
            Reading(case, "adapter", str(folder), str(place.material.training / "export" / "dit"))
        )
    case = place.case("pickle")
    folder = Path(shutil.copytree(adapter, place.work / "pickle"))
    (folder / "adapter_model.safetensors").unlink()
    pickled(folder / "adapter_model.bin", place.mark(), zipped=True)
    readings.append(Reading(case, "adapter", str(folder), str(place.material.training / "export" / "dit")))
    place.read(readings, typed=_YES)


@attack(line=1, quick=True)
def datasets_whose_settings_name_models(place: Place, draw: Random) -> None:
    """A foreign manifest.settings names folders with models: deciding again uses none of them."""
    clip_folder(place.victim / "clip", place.marks / "none", "kwargs")
    for number, (name, settings) in enumerate(
        {
            "clip_model": {"scores": {"clip_model": f"local-dir:{place.victim}/clip"}},
            "dover": {"scores": {"dover": str(place.victim / "film.mp4")}},
            "caption_model": {"captioner": {"name": "coca", "model": f"local-dir:{place.victim}/clip"}},
            "ray_address": {"ray": {"address": place.address.removeprefix("http://")}},
            "endpoint": {"captioner": {"name": "openai", "url": place.address}},
        }.items()
    ):
        place.case(name)
        folder = place.material.copy_dataset(place.work / f"d{number}")
        rewrite(folder, lambda manifest, settings=settings: _merge(manifest["settings"], settings))
        looser = "recipe.min.duration_s=0.1" if number % 2 else "recipe.min.duration_s=1"
        place.rushes("select", f"dataset={folder}", looser)


@attack(line=1)
def footage_beside_code(place: Place, draw: Random) -> None:
    """Python modules with the names of libraries lie in the working folder, which may be a download: none is
    imported."""
    place.case("working_folder")
    for name in (
        "av",
        "cv2",
        "numpy",
        "json",
        "sitecustomize",
        "usercustomize",
        "boto3",
        "torch",
        "conf",
        "ray",
    ):
        (place.work / f"{name}.py").write_text(
            f"open({str(place.mark())!r}, 'a').write({name!r})\nraise ImportError\n"
        )
    shutil.copytree(place.material.footage, place.work / "footage")
    # As the installed command does it; `python -m` itself would look into the working folder first.
    start = [sys.executable, "-P", "-m", "jobs.cli.main"]
    place.run([*start, "curate", "footage=footage", "dataset=ds", *QUICK_CURATION])
    place.hold(not list(place.marks.iterdir()), "a module of the working folder was imported", kind=RAN_CODE)


def _evil(kind: str, to: Path, mark: Path, how: str) -> None:
    (model_folder if kind == "hf" else clip_folder)(to, mark, how)


def _put(place: Place, folder: Path, where: str, make: object) -> Path:
    """Make an encoder's folder where it is wanted; how it is named."""
    assert callable(make)
    if where == "inside":
        make(folder / "text")
        return folder / "text"
    outside = place.victim / f"text_{folder.name}"
    place.owns(outside)
    make(outside)
    if where == "absolute":
        return outside
    if where == "above":
        return folder / ".." / ".." / "victim" / outside.name
    assert where == "link", where
    (folder / "text").symlink_to(outside)
    return folder / "text"


def _name(place: Place, named: dict[str, tuple[Path, str]]) -> None:
    """Have each checkpoint name its encoder, with the fingerprint that it has where it can be had: else it
    would be refused for that."""
    specs = [spec for _, spec in named.values()]
    before = len(place.harms)
    done = place.run(
        [sys.executable, "-c", _FINGERPRINTS],
        typed=json.dumps(specs),
        guard=[],
        may_fail=True,
        case="fingerprints",
    )
    del place.harms[before:]  # what this did, the cases themselves will do again
    known = dict(json.loads(line) for line in done.out.splitlines() if line.startswith("["))
    for folder, spec in named.values():
        edit_json(
            folder / "pipeline.json", text_encoder=spec, text_encoder_fingerprint=known.get(spec, "0" * 16)
        )


def _index(folder: Path, path: str) -> None:
    """Have a folder's weights lie elsewhere, as an index says."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="np") as file:
        names = list(file.keys())
    (folder / "model.safetensors").unlink()
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(names, path)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _merge(into: dict, values: dict) -> None:
    for name, value in values.items():
        if isinstance(value, dict):
            _merge(into.setdefault(name, {}), value)
        else:
            into[name] = value
