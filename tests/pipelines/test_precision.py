"""Precision: what is fast here is decided once, from what the processor says, and what was begun is gone on
with."""

import os
import subprocess
import sys

import pytest

from pipelines.precision import AUTO, BF16, FP32, decide, lacks_instructions

OLD = {"avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}
NEW = OLD | {"avx512_bf16": True}


@pytest.mark.parametrize("capabilities", [NEW, OLD | {"amx_bf16": True}, {"bf16": True}])
def test_a_processor_that_says_so_multiplies_bfloat16(capabilities):
    assert lacks_instructions(capabilities, {}) is None


@pytest.mark.parametrize("capabilities", [OLD, {}, {"avx2": True}])
def test_one_that_does_not_say_so_does_not(capabilities):
    assert lacks_instructions(capabilities, {}) == "this processor has no instructions for bfloat16"


@pytest.mark.parametrize(
    ("environ", "lacks"),
    [
        ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, True),
        ({"ONEDNN_MAX_CPU_ISA": "avx512_core"}, True),
        ({"DNNL_MAX_CPU_ISA": "AVX2_VNNI_2"}, True),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, False),
        ({"ONEDNN_MAX_CPU_ISA": "ALL", "DNNL_MAX_CPU_ISA": "AVX2"}, False),
        ({"ONEDNN_MAX_CPU_ISA": "nonsense"}, False),
    ],
)
def test_what_onednn_may_not_use_is_not_there(environ, lacks):
    assert (lacks_instructions(NEW, environ) is not None) == lacks


@pytest.fixture
def without(monkeypatch):
    """A processor that can, and may not."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: NEW)


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: NEW)


def test_auto_takes_bf16_where_it_is_fast(fast):
    assert decide(AUTO).name == BF16
    assert str(decide(AUTO)) == "computes in bf16 (the processor multiplies it fast)"
    assert decide(AUTO, previous=FP32).name == FP32, "what began in fp32 stays comparable with itself"
    assert not decide(BF16).slow


def test_auto_takes_fp32_where_it_is_not(without):
    chosen = decide(AUTO)
    assert (chosen.name, chosen.slow) == (FP32, False)
    assert "ONEDNN_MAX_CPU_ISA=AVX2" in str(chosen)


@pytest.mark.parametrize(("wanted", "earlier"), [(BF16, None), (AUTO, BF16), (BF16, FP32)])
def test_bf16_that_is_slow_is_allowed_and_warned_about(without, wanted, earlier):
    chosen = decide(wanted, previous=earlier)
    assert (chosen.name, chosen.slow) == (BF16, True)
    assert "fp32 is many times faster here" in str(chosen)


def test_a_gpu_that_is_not_in_this_machine_is_taken_for_one_that_can(without):
    assert decide(AUTO, gpu=True).name == BF16


def test_the_processor_is_asked_and_no_clock():
    """In a process of its own: the same answer with every core busy, and another where the instructions are
    left out."""
    script = "from pipelines.precision import decide; print(decide('auto').name)"

    def said(**environ: str) -> str:
        environ = {k: v for k, v in os.environ.items() if "MAX_CPU_ISA" not in k} | environ
        return subprocess.run([sys.executable, "-c", script], env=environ, text=True, capture_output=True,
            check=True).stdout.strip()  # fmt: skip

    assert said(ONEDNN_MAX_CPU_ISA="AVX2") == FP32
    assert said() in (BF16, FP32)
