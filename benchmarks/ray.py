"""Ray: how much faster are two workers of one thread each than one engine of one thread, and what does a worker cost?

All sides sample the same requests in the same batches. First two workers and the engine of this process by turns, then
one worker and that engine. Needs two idle cores.
"""

from typing import TYPE_CHECKING, Annotated

import torch
import typer

from benchmarks.common import (
    CampaignName,
    DtypeName,
    Goal,
    GroupSize,
    ModelName,
    PairCount,
    alternate,
    conclude,
    find_campaign,
    generate_requests,
    load_engine,
    machine,
    median_ratio,
    model_folder,
    run,
    runtime_of,
    say,
    speed_table,
    train_prompts,
)
from rft_pipeline.campaign import EngineRuntime, Sampling
from rft_pipeline.cli import console
from rft_pipeline.engines.load import load_engine as load_spread

if TYPE_CHECKING:
    from rft_pipeline.engines.base import Engine

SPEED_GOAL = 1.8
"""Least ratio of two workers' rollouts a second to one engine's."""
OVERHEAD_GOAL = 0.05
"""Most time that one worker may take longer than one engine, as a share of the engine's time."""


def ray(
    campaign_name: CampaignName = "support_reply",
    model: ModelName = "embedded",
    prompts: Annotated[int, typer.Option(min=1, help="Train prompts, from the first.")] = 8,
    group_size: GroupSize = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows of a batch; a worker takes one at a time.")] = 16,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens a rollout.")] = 24,
    dtype: DtypeName = "auto",
    pairs: PairCount = 3,
) -> None:
    """Rollouts a second of Ray workers against one engine, one thread each."""
    torch.set_num_threads(1)
    campaign = find_campaign(campaign_name)
    group_size = group_size or campaign.rollouts.group_size
    runtime = runtime_of(campaign, batch_size, dtype).model_copy(update={"device": "cpu"})
    one = load_engine(model, runtime)
    chosen = train_prompts(campaign, prompts)
    sampling = Sampling(max_new_tokens=max_new_tokens, top_p=0.95)

    def tokens_of(engine: "Engine", turn: int) -> dict[str, list[int]]:
        requests = generate_requests(campaign, chosen, group_size, turn)
        return {done.request_id: done.tokens_T for batch in engine.generate(requests, sampling) for done in batch}

    def count(engine: "Engine", turn: int) -> int:
        return sum(map(len, tokens_of(engine, turn).values()))

    def compare(workers: int) -> tuple[float, bool]:
        """The ratio of the workers' speed to the engine's, and whether their rows are equal."""
        spread = load_spread(model_folder(model), spread_runtime(workers, batch_size, runtime.dtype))
        say(f"workers: {workers}; each side once to warm up")
        same = tokens_of(spread, pairs) == tokens_of(one, pairs)
        timed = alternate(lambda turn: count(spread, turn), lambda turn: count(one, turn), pairs)
        spread.close()
        caption = (
            f"{campaign.name}: {prompts} prompts × {group_size} rollouts × at most {max_new_tokens} tokens, {model}, "
            f"{runtime.dtype}, batches of {batch_size}; {machine(one)}"
        )
        console.out.print(speed_table(f"Ray, workers: {workers}", caption, ("Ray workers", "one engine"), timed))
        return median_ratio(timed), same

    speed, two_same = compare(2)
    ratio, one_same = compare(1)
    overhead, same = 1 / ratio - 1, two_same and one_same
    conclude(
        [
            Goal("two workers to one engine", f"{speed:.2f}", f"≥ {SPEED_GOAL:.2f}", speed >= SPEED_GOAL),
            Goal("one worker's overhead", f"{overhead:+.1%}", f"≤ {OVERHEAD_GOAL:.0%}", overhead <= OVERHEAD_GOAL),
            Goal("rows of all sides", "the same" if same else "different", "the same", same),
        ]
    )


def spread_runtime(workers: int, batch_size: int, dtype: str) -> EngineRuntime:
    """Workers of one thread on a local cluster."""
    worker = {"batch_size": batch_size, "dtype": dtype, "device": "cpu", "cpus": 1}
    return EngineRuntime.model_validate({"engine": "ray", "workers": workers, "worker": worker})


if __name__ == "__main__":
    run(ray)
