"""Line 2: small files that ask for much: depth, counts, lengths, rows, patterns. Each must be one line within
two seconds.

In: a place. Out: cases, read as our commands read them (`readers.py`), and some by the commands themselves.
"""

import json
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.attacks.material import TINY_VIDEO, edit_json, newest_manifest, rewrite
from benchmarks.attacks.names import nested, nestings
from benchmarks.attacks.place import Place
from benchmarks.attacks.readers import BOMB_S, Reading
from benchmarks.attacks.registry import attack

_DEEP = {"pipeline.json": "pipeline", "dit/config.json": "dit", "vae/config.json": "vae"}
_ADDRESSES = 6 * 1024**3  # that a command may have which reads a dataset


@attack(line=2, quick=True)
def deep_json_of_models(place: Place, draw: Random) -> None:
    """JSON nested a thousand to a million levels deep, in each file of a checkpoint."""
    readings = []
    for name, text in nestings(draw):
        at = draw.choice(sorted(_DEEP))
        case = place.case(f"{at.replace('/', '_')}_{name}")
        folder = place.material.copy_checkpoint(place.work / name)
        value = json.loads((folder / at).read_text())
        marked = json.dumps({**value, draw.choice(("config", "extra", "flow", "more")): "HERE"})
        (folder / at).write_text(draw.choice((text, marked.replace('"HERE"', text))))
        readings.append(
            Reading(case, _DEEP[at], str(folder if at == "pipeline.json" else folder / at.split("/")[0]))
        )
    for at in ("dit/model.safetensors.index.json", "vae/model.safetensors.index.json"):
        part = at.split("/")[0]
        case = place.case(f"{part}_index_1e6")
        folder = place.material.copy_checkpoint(place.work / f"{part}_index")
        (folder / part / "model.safetensors").unlink()
        (folder / at).write_text('{"weight_map": ' + nested(10**6, "arrays") + "}")
        readings.append(Reading(case, part, str(folder / part)))
    place.read(readings)


@attack(line=2, quick=True)
def large_numbers_in_configs(place: Place, draw: Random) -> None:
    """Sizes of networks that no machine holds, and numbers that are none."""
    big = 10 ** draw.randint(7, 12)
    edits: list[tuple[str, dict[str, Any]]] = [
        ("dit", {"width": 64 * big}),
        ("dit", {"depth": big}),
        ("dit", {"depth": 200_000}),
        ("dit", {"heads": big, "width": 64 * big}),
        ("dit", {"text_dim": big}),
        ("dit", {"latent_channels": big}),
        ("dit", {"ffn_ratio": 1e18}),
        ("dit", {"ffn_ratio": float("inf")}),
        ("dit", {"ffn_ratio": float("nan")}),
        ("dit", {"patch": [1, big, big]}),
        ("dit", {"patch": [1] * 10**6}),
        ("dit", {"rope_theta": float("inf")}),
        ("dit", {"width": 10**4000}),
        ("dit", {"width": "64"}),
        ("dit", {"depth": None}),
        ("dit", {"depth": [[]]}),
        ("vae", {"base_channels": 8 * big}),
        ("vae", {"latent_channels": big}),
        ("vae", {"encoder_blocks": big}),
        ("vae", {"decoder_blocks": 300_000}),
        ("vae", {"multipliers": [big, big, big]}),
        ("vae", {"multipliers": [1] * 10**6}),
        ("vae", {"stride_time": 2**40}),
        ("vae", {"patch": -4}),
    ]
    readings = []
    for number, (part, values) in enumerate(edits):
        case = place.case(f"{part}_{'_'.join(values)}_{number}")
        folder = place.material.copy_checkpoint(place.work / f"c{number}")
        path = folder / part / "config.json"
        record = json.loads(path.read_text())
        edit_json(path, config={**record["config"], **values})
        readings.append(Reading(case, part, str(folder / part)))
    published = {
        "wan_deep": {"_class_name": "AutoencoderKLWan", "dim_mult": [1] * 100_000, "z_dim": 16},
        "wan_wide": {"_class_name": "AutoencoderKLWan", "base_dim": 10**9, "z_dim": 16},
        "wan_blocks": {"_class_name": "AutoencoderKLWan", "num_res_blocks": 10**7, "z_dim": 16},
        "cog_deep": {"_class_name": "AutoencoderKLCogVideoX", "block_out_channels": [8] * 10**6},
        "cog_layers": {"_class_name": "AutoencoderKLCogVideoX", "layers_per_block": 10**8},
        "hunyuan": {"_class_name": "AutoencoderKLHunyuanVideo", "layers_per_block": 10**7},
        "means": {
            "_class_name": "AutoencoderKLWan",
            "z_dim": 10**7,
            "latents_mean": [0.0] * 10**7,
            "latents_std": [1.0] * 10**7,
        },
    }
    for name, config in published.items():
        case = place.case(f"published_{name}")
        folder = place.work / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        _safetensors(folder / "diffusion_pytorch_model.safetensors", {})
        readings.append(Reading(case, "vae", str(folder)))
    for number, (key, value) in enumerate(
        (
            ("flow", {"alpha_low": 1e308}),
            ("flow", {"shift_tokens_low": 10**400}),
            ("sample", {"steps": 10**12}),
            ("flow", []),
            ("sample", None),
        )
    ):
        case = place.case(f"pipeline_{key}_{number}")
        folder = place.material.copy_checkpoint(place.work / f"p{number}")
        edit_json(folder / "pipeline.json", **{key: value})
        readings.append(Reading(case, "pipeline", str(folder)))
    place.read(readings)


@attack(line=2, quick=True)
def heads_of_weights(place: Place, draw: Random) -> None:
    """safetensors whose head is long, deep, or names many or monstrous tensors."""
    one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    huge = {"dtype": "F32", "shape": [2**31, 2**31], "data_offsets": [0, 4]}
    many = draw.choice((200_000, 300_000))
    heads: dict[str, bytes] = {
        "length_most": struct.pack("<Q", 2**64 - 1) + b"{}",
        "length_signed": struct.pack("<Q", 2**63) + b"{}",
        "length_terabyte": struct.pack("<Q", 2**40) + b"{}",
        "length_beyond": struct.pack("<Q", draw.randint(100, 10**6)) + b"{}",
        "length_zero": struct.pack("<Q", 0),
        "no_length": b"\1\2\3",
        "deep": _head(nested(10**5, "arrays").encode()),
        "deep_value": _head(b'{"a": ' + nested(10**6, "arrays").encode() + b"}"),
        "many_tensors": _head(json.dumps({f"t{n}": one for n in range(many)}).encode()) + b"\0" * 4,
        "many_dimensions": _head(json.dumps({"t": {**one, "shape": [1] * 10**6}}).encode()) + b"\0" * 4,
        "huge_tensor": _head(json.dumps({"t": huge}).encode()) + b"\0" * 4,
        "overflow": _head(json.dumps({"t": {**one, "shape": [2**62, 8]}}).encode()) + b"\0" * 4,
        "negative": _head(json.dumps({"t": {**one, "shape": [-1], "data_offsets": [4, 0]}}).encode())
        + b"\0" * 4,
        "overlap": _head(json.dumps({"a": one, "b": one}).encode()) + b"\0" * 4,
        "metadata": _head(json.dumps({"__metadata__": {f"k{n}": "v" * 99 for n in range(300_000)}}).encode()),
        "long_name": _head(json.dumps({"n" * 10**7: one}).encode()) + b"\0" * 4,
        "spaces": _head(b"{" + b" " * 90_000_000 + b"}"),
    }
    readings = []
    for name, data in heads.items():
        part = draw.choice(("dit", "vae"))
        case = place.case(name)
        folder = place.material.copy_checkpoint(place.work / name)
        (folder / part / "model.safetensors").write_bytes(data)
        readings.append(Reading(case, part, str(folder / part)))
    case = place.case("sparse")
    folder = place.material.copy_checkpoint(place.work / "sparse")
    with (folder / "dit" / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", 2**39))
        file.truncate(2**40)
    readings.append(Reading(case, "dit", str(folder / "dit")))
    case = place.case("index_many_files")
    folder = place.material.copy_checkpoint(place.work / "many_files")
    (folder / "dit" / "model.safetensors").unlink()
    index = {"weight_map": {f"t{n}": f"model-{n:07d}.safetensors" for n in range(500_000)}}
    (folder / "dit" / "model.safetensors.index.json").write_text(json.dumps(index))
    readings.append(Reading(case, "dit", str(folder / "dit")))
    place.read(readings)


@attack(line=2)
def patterns_of_adapters(place: Place, draw: Random) -> None:
    """An adapter's expressions that take for ever to match, or too many of them; ranks that nothing holds."""
    sound = place.work / "sound"
    dit = place.material.training / "export" / "dit"
    made = (
        "from model.checkpoint.weights import load_dit; from model.checkpoint.lora import add_lora, "
        f"save_lora; d = load_dit({str(dit)!r}); add_lora(d, 2); save_lora(d, {str(sound)!r})"
    )
    place.run([sys.executable, "-c", made], case="sound adapter")
    evil = draw.choice(
        (r"(([a-z_.0-9]+)+)+X", r"(.*)*(.*)*(.*)*X", r"^(([^x]|.)+)+$X", r"(blocks|b.*|.*)*\.(a|aa|.*)+X")
    )
    edits: dict[str, dict[str, Any]] = {
        "target_regex": {"target_modules": evil},
        "exclude_regex": {"exclude_modules": evil},
        "rank_pattern": {"rank_pattern": {evil: 4}},
        "alpha_pattern": {"alpha_pattern": {evil: 4}},
        "many_ranks": {"rank_pattern": {f"x{n}.*": 4 for n in range(200_000)}},
        "many_targets": {"target_modules": [f"m{n}" for n in range(10**6)]},
        "layers_pattern": {"layers_to_transform": list(range(10**6)), "layers_pattern": evil},
        "rank": {"r": 10**9},
        "rank_negative": {"r": -1},
        "alpha": {"lora_alpha": 1e308, "r": 2},
        "bad_regex": {"target_modules": "(((("},
        "parameters": {"target_parameters": [evil]},
    }
    readings = []
    for name, values in edits.items():
        case = place.case(name)
        folder = Path(shutil.copytree(sound, place.work / name))
        edit_json(folder / "adapter_config.json", **values)
        readings.append(Reading(case, "adapter", str(folder), str(dit)))
    case = place.case("deep")
    folder = Path(shutil.copytree(sound, place.work / "deep"))
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": ' + nested(10**6, "arrays") + "}")
    readings.append(Reading(case, "adapter", str(folder), str(dit)))
    place.read(readings)


@attack(line=2)
def bombs_of_encoders(place: Place, draw: Random) -> None:
    """Folders of text encoders with deep JSON, and networks that are too large to be built."""
    from benchmarks.attacks.hostile_code import clip_folder, model_folder

    readings = []
    for name, values in {
        "layers": {"num_hidden_layers": 10**7},
        "width": {"hidden_size": 10**7, "num_attention_heads": 1},
        "words": {"vocab_size": 10**11},
        "positions": {"max_position_embeddings": 10**12},
    }.items():
        case = place.case(f"hf_{name}")
        model_folder(place.work / name, place.mark(), "plain")
        edit_json(place.work / name / "config.json", **values)
        readings.append(Reading(case, "text", f"hf:{place.work}/{name}"))
    for at in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        case = place.case(f"hf_deep_{at}")
        model_folder(place.work / at, place.mark(), "plain")
        (place.work / at / at).write_text(nested(10**6, draw.choice(("arrays", "objects"))))
        readings.append(Reading(case, "text", f"hf:{place.work}/{at}"))
    for name, values in {
        "layers": {"layers": 10**7},
        "width": {"width": 2**30, "heads": 2},
        "context": {"context_length": 10**10},
        "words": {"vocab_size": 10**11},
    }.items():
        case = place.case(f"clip_{name}")
        folder = place.work / f"clip_{name}"
        clip_folder(folder, place.mark(), "plain")
        config = json.loads((folder / "open_clip_config.json").read_text())
        config["model_cfg"]["text_cfg"] |= values
        (folder / "open_clip_config.json").write_text(json.dumps(config))
        readings.append(Reading(case, "text", f"clip:local-dir:{folder}@pooled"))
    case = place.case("clip_deep")
    clip_folder(place.work / "clip_deep", place.mark(), "plain")
    (place.work / "clip_deep" / "open_clip_config.json").write_text(nested(10**6, "objects"))
    readings.append(Reading(case, "text", f"clip:local-dir:{place.work}/clip_deep@pooled"))
    place.read(readings, most_cpu_s=BOMB_S + 1.5)  # of which a sound one's own building takes the most


@attack(line=2, quick=True)
def tables_of_many_rows(place: Place, draw: Random) -> None:
    """Parquet of a few kilobytes with thirty million rows, or columns, or one long text in all of them; deep
    manifests."""
    readings = []

    def foreign(name: str) -> Path:
        case = place.case(name)
        folder = place.material.copy_dataset(place.work / name)
        readings.append(Reading(case, "dataset", str(folder)))
        return folder

    for table in ("index", "sources", "quarantine"):
        folder = foreign(f"{table}_rows")
        _name_table(
            folder,
            table,
            _many_rows(place.work / f"{table}.parquet", "reason" if table == "quarantine" else "status"),
        )
    folder = foreign("index_text")
    _name_table(folder, "index", _long_text(place.work / "text.parquet"))
    folder = foreign("index_columns")
    _name_table(folder, "index", _many_columns(place.work / "columns.parquet"))
    for name, text in nestings(draw):
        if name.endswith(("1e4", "1e6")):
            manifest = newest_manifest(foreign(f"manifest_{name}"))
            manifest.write_text(draw.choice((text, f'{{"schema": 3, "settings": {text}}}')))
    for name, change in {
        "shards": lambda m: m.update(shards=m["shards"][:1] * 10**6),
        "tables": lambda m: m.update(index=m["index"] * 200_000),
        "number": lambda m: m.update(schema=10**300),
        "schema_text": lambda m: m.update(schema="3"),
        "no_index": lambda m: m.pop("recipe"),
        "a_list": lambda m: m.update(index={"a": 1}),
        "settings_list": lambda m: m.update(settings=[1]),
    }.items():
        rewrite(foreign(f"manifest_{name}"), change)
    for name, content in _lists():
        case = place.case(f"list_{name}")
        path = place.work / name
        path.write_bytes(content)
        readings.append(Reading(case, "footage", str(path)))
    case = place.case("list_rows")
    readings.append(Reading(case, "footage", str(_many_rows(place.work / "rows.parquet", "uri", "x.mp4"))))
    place.read(readings)


@attack(line=2)
def bombs_by_command(place: Place, draw: Random) -> None:
    """Some of them with the commands themselves, beside the same command on what is sound."""
    good = place.material.copy_checkpoint(place.work / "good")
    generate = ["generate", "out=o/k.mp4", *TINY_VIDEO]
    bare = place.rushes(*generate, f"checkpoint={good}", case=place.case("sound_checkpoint")).cpu_s
    for name, spoil in {
        "depth": lambda c: (c / "dit" / "config.json").write_text(
            '{"config": ' + nested(10**6, "arrays") + "}"
        ),
        "pipeline": lambda c: (c / "pipeline.json").write_text(nested(10**6, "objects")),
        "head": lambda c: (c / "dit" / "model.safetensors").write_bytes(struct.pack("<Q", 2**40) + b"{}"),
    }.items():
        place.case(f"generate_{name}")
        folder = place.material.copy_checkpoint(place.work / name)
        spoil(folder)
        place.rushes(*generate, f"checkpoint={folder}", cpu_s=bare + BOMB_S)
    sound = place.material.copy_dataset(place.work / "sound_dataset")
    bare = place.rushes("inspect", f"dataset={sound}", case=place.case("sound_dataset")).cpu_s
    for name in ("inspect", "clips", "verify", "report", "clean", "passport"):
        place.case(f"{name}_rows")
        folder = place.material.copy_dataset(place.work / f"rows_{name}")
        _name_table(folder, "index", _many_rows(place.work / "many.parquet", "status"))
        more = ["clip=a"] if name == "passport" else ["decode=false"] if name == "verify" else []
        place.rushes(
            name, f"dataset={folder}", *more, cpu_s=bare + BOMB_S + 1, limit_s=60, most_addresses=_ADDRESSES
        )


def _head(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def _safetensors(path: Path, head: dict[str, Any]) -> None:
    path.write_bytes(_head(json.dumps(head).encode()))


def _name_table(dataset: Path, name: str, path: Path) -> None:
    """Have the newest manifest name a table that was made elsewhere."""
    key = f"{name}/{'0' * 31}1.parquet"
    (dataset / name).mkdir(exist_ok=True)
    shutil.copyfile(path, dataset / key)
    rewrite(dataset, lambda manifest: manifest.update({name: [key]}))


def _many_rows(path: Path, column: str, value: str | None = None, rows: int = 1 << 25) -> Path:
    """A column with the same value, or none, in all of so many rows: kilobytes in the file, gibibytes once it
    is read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.exists():
        return path
    step = 1 << 24
    schema = pa.schema([pa.field(column, pa.string())])
    piece = pa.nulls(step, pa.string()) if value is None else pa.repeat(pa.scalar(value), step)
    with pq.ParquetWriter(path, schema, compression="zstd", write_statistics=False) as writer:
        for _ in range(rows // step):
            writer.write_table(pa.table([piece], schema=schema), row_group_size=step)
    return path


def _long_text(path: Path) -> Path:
    """One text of sixteen megabytes in each of a thousand rows, stored once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.array(["x" * (1 << 24)])
    rows = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), text)
    pq.write_table(
        pa.table({"caption_dense": rows}),
        path,
        compression="zstd",
        dictionary_pagesize_limit=1 << 26,
        store_schema=False,
    )
    return path


def _many_columns(path: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({f"c{n}": [1] for n in range(100_000)}), path)
    return path


def _lists() -> Iterator[tuple[str, bytes]]:
    """Lists of footage that are more than a list."""
    yield "deep.jsonl", nested(10**6, "arrays").encode() + b"\n" + nested(10**5, "objects").encode()
    yield "columns.csv", b"uri," + b",".join(b"c%d" % n for n in range(10**6)) + b"\nx.mp4\n"
    yield "dots.txt", b"/".join([b".."] * 10**6) + b"/x.mp4\n"
    yield "long.txt", b"x" * 5_000_000
    yield "stars.txt", b"**/" * 10**5 + b"*.mp4\n"
    yield "quotes.csv", b'uri\n"' + b"x" * 30_000_000
    yield "number.jsonl", b'{"uri": ' + b"9" * 10**6 + b"}\n"
