"""Where a training, its export or a published pipeline holds what a user asks for."""

import pytest

from jobs.training.exports import PARTS, PIPELINE, find_export
from model.checkpoint.lora import CONFIG

FILES = {"pipeline": PIPELINE, "lora": CONFIG}


@pytest.mark.parametrize(("part", "place"), [(part, place) for part in FILES for place in PARTS[part].places])
def test_it_is_found_wherever_a_training_puts_it(tmp_path, part, place):
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / place / FILES[part]).write_text("{}")
    assert find_export(part, str(tmp_path), "key") == tmp_path / place


@pytest.mark.parametrize("part", PARTS)
def test_what_is_not_there_is_said_with_the_key_and_the_way_out(tmp_path, part):
    with pytest.raises(FileNotFoundError, match=rf"^key={tmp_path} holds no [^(]*; give "):
        find_export(part, str(tmp_path), "key")
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="that training has not finished: run it again"):
        find_export(part, str(tmp_path), "key")
