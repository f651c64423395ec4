"""vLLM: what does our engine cost over a bare `LLM.generate`, and how far is what it draws from the trainer?

Both sides of the first question share the vLLM engine, the prompts and the number of rows at once. Ours also tokenizes
the prompts, seeds every request, takes log-probs and decodes the replies within its time; the bare call only samples.
For the second, the trainer's own forward pass (fp32 weights under bf16 autocast, as in `rft_pipeline/trainers`) scores
every token that was drawn.
"""

from typing import Annotated

import numpy as np
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
    PairCount,
    alternate,
    conclude,
    find_campaign,
    generate_requests,
    median_ratio,
    model_folder,
    run,
    runtime_of,
    say,
    speed_table,
    train_prompts,
)
from rft_pipeline.campaign import Sampling
from rft_pipeline.cli import console
from rft_pipeline.engines import Completion, GenerateRequest
from rft_pipeline.engines.weights import load_weights

GOAL = 0.95
"""Least ratio of our tokens a second to the bare call's."""
GAP = 0.02
"""Largest mean of |engine − trainer| over the tokens drawn, in nats."""


def vllm(
    campaign_name: CampaignName = "support_reply",
    model: ModelName = "embedded",
    prompts: Annotated[int, typer.Option(min=1, help="Train prompts, from the first.")] = 24,
    group_size: GroupSize = None,
    batch_size: BatchSize = None,
    max_new_tokens: MaxNewTokens = None,
    dtype: DtypeName = "auto",
    pairs: PairCount = 3,
) -> None:
    """Tokens a second of the vLLM engine against a bare LLM.generate, and its distance to the trainer."""
    from vllm import SamplingParams

    from rft_pipeline.engines.vllm import VllmEngine

    campaign, folder = find_campaign(campaign_name), model_folder(model)
    runtime = runtime_of(campaign, batch_size, dtype)
    engine = VllmEngine(folder, runtime)
    chosen = train_prompts(campaign, prompts)
    group_size = group_size or campaign.rollouts.group_size
    sampling = Sampling(max_new_tokens=max_new_tokens or campaign.rollouts.sampling.max_new_tokens)
    drawn: list[Completion] = []

    def requests(turn: int) -> list[GenerateRequest]:
        return generate_requests(campaign, chosen, group_size, turn)

    rows = [{"prompt_token_ids": engine.chat_tokens(request.messages)} for request in requests(0)]
    bare = SamplingParams(
        max_tokens=sampling.max_new_tokens, ignore_eos=True, stop_token_ids=list(engine.ends), detokenize=False
    )

    def ours(turn: int) -> int:
        drawn[:] = [done for batch in engine.generate(requests(turn), sampling) for done in batch]
        return sum(len(done.tokens_T) for done in drawn)

    def plain(turn: int) -> int:
        return sum(len(output.outputs[0].token_ids) for output in engine.llm.generate(rows, bare, use_tqdm=False))

    say("one pass of each side to warm up")
    ours(0)
    plain(0)
    timed = alternate(ours, plain, pairs)
    engine.close()
    caption = (
        f"{campaign.name}: {chosen.height} prompts × {group_size} rollouts × at most {sampling.max_new_tokens} tokens, "
        f"{model}, {runtime.dtype}, {runtime.batch_size} rows at once"
    )
    console.out.print(speed_table("vLLM rollouts", caption, ("VllmEngine.generate", "bare LLM.generate"), timed))
    say("the trainer's forward pass over what was drawn last")
    trainer = load_weights(folder, "float32", "cpu")
    gaps = np.concatenate([np.abs(_trainer_logprobs(trainer, done) - done.logprobs_T) for done in drawn])
    mean, p99, found = gaps.mean(), np.quantile(gaps, 0.99), median_ratio(timed)
    conclude(
        [
            Goal("ours to bare, tok/s, median of the pairs", f"{found:.3f}", f"≥ {GOAL:.2f}", found >= GOAL),
            Goal("|engine − trainer|, mean nats", f"{mean:.4f} (p99 {p99:.4f})", f"< {GAP}", bool(mean < GAP)),
        ]
    )


def _trainer_logprobs(trainer: torch.nn.Module, done: Completion) -> np.ndarray:
    """Log-probs of a completion's T tokens as the trainer sees them before the first update."""
    ids = torch.tensor([[*done.prompt_tokens, *done.tokens_T]])
    count = len(done.tokens_T)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        logits_TV = trainer(input_ids=ids, logits_to_keep=count + 1).logits[0, :-1]
    logprobs_TV = logits_TV.float().log_softmax(-1)
    found: np.ndarray = logprobs_TV[range(count), done.tokens_T].numpy()
    return found


if __name__ == "__main__":
    run(vllm)
