"""What other tests rest on: the worth of planted replies, and what pytest says of the CPU."""

from pathlib import Path

import polars as pl

from rft_pipeline.store import Home, RecordStore
from tests.conftest import cpu


def test_round_1_is_better_than_base_on_every_prompt_and_round_2_worse(finished_home: Path) -> None:
    report = RecordStore(Home.find().store).current("tiny/round_2/eval_reports")
    assert report is not None
    rows = pl.read_parquet(report.path("eval_reports.parquet"))
    rewards = [dict(rows.filter(round=round_).select("prompt_id", "reward").iter_rows()) for round_ in (0, 1, 2)]
    for base, first, second in ([each[prompt] for each in rewards] for prompt in rewards[0]):
        # of 3.5: says_enough 3 or 4 words of 6 against 6 and 3, has_an_e 0.5 against 0.5 and 0
        assert first - base > 0.09
        assert second - base < -0.14


def test_the_cpu_is_named_with_the_instruction_sets_that_bf16_kernels_differ_by(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Intel Xeon\nflags\t\t: fpu avx2 avx512f amx_bf16\n")
    assert cpu(info) == "Intel Xeon: avx2 yes, avx512f yes, avx512_bf16 no, amx_bf16 yes"
    assert cpu(tmp_path / "none") != ""
