"""Generation: how much faster are seeded rows with log-probs than a bare `model.generate`?

Both sides share the model object, the left-padded prompts, their order, the batch size, temperature and top-p, and
count the tokens up to and with the end of the turn. Ours also tokenizes the prompts and decodes the replies within its
time, the bare loop neither. Two workloads: batches of a whole round, and one batch of 16 rows, as between two steps of
on-policy training.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
import typer

from benchmarks.common import (
    BatchSize,
    CampaignName,
    DtypeName,
    Goal,
    GroupSize,
    MaxNewTokens,
    ModelName,
    Pair,
    PairCount,
    alternate,
    conclude,
    find_campaign,
    generate_requests,
    load_engine,
    machine,
    median_ratio,
    run,
    runtime_of,
    say,
    speed_table,
    train_prompts,
)
from rft_pipeline.campaign import Campaign, Sampling
from rft_pipeline.cli import console
from rft_pipeline.engines import GenerateRequest
from rft_pipeline.engines.transformers import TransformersEngine

GOAL = 1.30
"""Least ratio of our tokens a second to the bare loop's."""
ON_POLICY_ROWS = 16
"""Rows of the small workload."""


def generation(
    campaign_name: CampaignName = "support_reply",
    model: ModelName = "embedded",
    prompts: Annotated[int, typer.Option(min=1, help="Train prompts, from the first.")] = 8,
    group_size: GroupSize = None,
    batch_size: BatchSize = None,
    max_new_tokens: MaxNewTokens = None,
    temperature: Annotated[float, typer.Option(min=0.01)] = 0.8,
    top_p: Annotated[float, typer.Option(min=0.01, max=1)] = 0.95,
    dtype: DtypeName = "auto",
    pairs: PairCount = 3,
) -> None:
    """Tokens a second of the engine against a bare model.generate loop."""
    campaign = find_campaign(campaign_name)
    runtime = runtime_of(campaign, batch_size, dtype)
    engine = load_engine(model, runtime)
    group_size = group_size or campaign.rollouts.group_size
    budget = max_new_tokens or campaign.rollouts.sampling.max_new_tokens
    sampling = Sampling(max_new_tokens=budget, temperature=temperature, top_p=top_p)
    few = max(1, ON_POLICY_ROWS // group_size)
    goals = []
    for name, count in (("a round", prompts), ("on-policy", few)):
        timed = time_pairs(engine, campaign, count, group_size, sampling, pairs)
        rows = count * group_size
        caption = (
            f"{campaign.name}: {count} prompts × {group_size} rollouts × at most {budget} tokens, temperature "
            f"{temperature}, top-p {top_p}, {model}, {runtime.dtype}, batches of {min(rows, engine.batch_size)}; "
            f"{machine(engine)}"
        )
        sides = ("TransformersEngine.generate", "bare model.generate")
        console.out.print(speed_table(f"Generation: {name}", caption, sides, timed))
        found = median_ratio(timed)
        what = f"{name}, {rows} rows: ours to bare, tok/s, median of the pairs"
        goals.append(Goal(what, f"{found:.2f}", f"≥ {GOAL:.2f}", found >= GOAL))
    conclude(goals)


def time_pairs(
    engine: TransformersEngine, campaign: Campaign, prompts: int, group_size: int, sampling: Sampling, pairs: int
) -> list[Pair]:
    """Both sides over the campaign's first train prompts, by turns."""
    chosen = train_prompts(campaign, prompts)

    def requests(turn: int) -> list[GenerateRequest]:
        return generate_requests(campaign, chosen, group_size, turn)

    batches = padded_batches(engine, requests(0))

    def ours(turn: int) -> int:
        drawn = engine.generate(requests(turn), sampling)
        return sum(len(completion.tokens_T) for completions in drawn for completion in completions)

    def plain(turn: int) -> int:
        torch.manual_seed(turn)
        return sum(bare_generate(engine, *batch, sampling) for batch in batches)

    say("one batch of each side to warm up")
    warm = sampling.model_copy(update={"max_new_tokens": min(4, sampling.max_new_tokens)})
    next(iter(engine.generate(requests(0)[: engine.batch_size], warm)))
    bare_generate(engine, *batches[0], warm)
    return alternate(ours, plain, pairs)


def padded_batches(
    engine: TransformersEngine, requests: Sequence[GenerateRequest]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Tokens and mask (B × L each), left-padded, in the order in which the engine takes its batches."""
    prompts = sorted((engine.chat_tokens(request.messages) for request in requests), key=lambda row: (len(row), row))
    batches = []
    for start in range(0, len(prompts), engine.batch_size):
        rows = {"input_ids": prompts[start : start + engine.batch_size]}
        padded = engine.tokenizer.pad(rows, padding_side="left", return_tensors="pt").to(engine.device)
        batches.append((padded["input_ids"], padded["attention_mask"]))
    return batches


def bare_generate(engine: TransformersEngine, ids_BL: torch.Tensor, mask_BL: torch.Tensor, sampling: Sampling) -> int:
    """Sample one batch; returns how many tokens were drawn up to and with each row's end of turn."""
    with torch.inference_mode():
        output_BX = engine.model.generate(
            input_ids=ids_BL,
            attention_mask=mask_BL,
            do_sample=True,
            temperature=sampling.temperature,
            top_k=0,
            top_p=sampling.top_p,
            max_new_tokens=sampling.max_new_tokens,
            pad_token_id=engine.pad,
            eos_token_id=list(engine.ends),
        )
    drawn_BT = output_BX[:, ids_BL.shape[1] :].tolist()
    ends_B = [next((t for t, token in enumerate(row, 1) if token in engine.ends), len(row)) for row in drawn_BT]
    return sum(ends_B)


if __name__ == "__main__":
    run(generation)
