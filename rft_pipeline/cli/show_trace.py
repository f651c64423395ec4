"""What `rft trace` prints."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from rft_pipeline.cli.console import line, out, table
from rft_pipeline.cli.show_judgements import judgements_table
from rft_pipeline.cli.words import gate, plain, printable, score
from rft_pipeline.lineage.index import EQUAL
from rft_pipeline.lineage.rows import BatchFacts, EvaluationFacts, RolloutFacts
from rft_pipeline.lineage.trace_criterion import CriterionTrace, CriterionVersion, Influence
from rft_pipeline.lineage.trace_record import ChainLink, CriterionUse, JudgeWeights, RecordFacts, RecordTrace
from rft_pipeline.lineage.trace_rows import PromptFacts, PromptRound, PromptTrace, RolloutTrace
from rft_pipeline.progress import duration
from rft_pipeline.stages.replaying import TRACES

SHORT = 300
"""Longest text that is printed in full, in characters; `--json` has all of it."""


def traced(found: RecordTrace | RolloutTrace | PromptTrace | CriterionTrace) -> None:
    """Print a trace; `--json` has more."""
    match found:
        case RecordTrace():
            _record(found)
        case RolloutTrace():
            _rollout(found)
        case PromptTrace():
            _prompt(found)
        case CriterionTrace():
            for version in found.versions:
                _criterion(version)


def _record(found: RecordTrace) -> None:
    here = found.records[found.address]
    line(f"[bold]{here.address}[/] {_state(here.is_current)}")
    _facts(
        {
            "made": f"{here.created}, in {duration(here.seconds)}",
            "content": here.content_hash,
            "same content": ", ".join(here.equal),
            "code version": here.code_version,
            "software": _pairs(here.software),
            "settings": _pairs({name: value for name, value in here.settings.items() if name != "criteria"}),
            "rows": _pairs(here.rows),
            "metrics": _pairs(here.metrics),
            "Dagster asset": here.dagster_asset_url,
            "Dagster run": here.dagster_run_url,
            "MLflow run": here.mlflow_run_url,
            "folder": here.folder,
        }
    )
    if found.criteria:
        out.print("\n[bold]rubric[/]")
        out.print(_criteria_table(found.criteria))
        line(f"judge: {_judges(found.judges)}")
    if found.chain:
        out.print()
        out.print(_chain(found.chain))
    in_chain = {link.checkpoint for link in found.chain}
    for title, links, shown in (("made from", _above, in_chain), ("made into", _below, {here.address})):
        tree = Tree(f"[bold]{title}[/]")
        links(found, here, tree, shown)
        out.print()
        out.print(tree if tree.children else f"[bold]{title}[/]: nothing", soft_wrap=True)


def _above(found: RecordTrace, here: RecordFacts, tree: Tree, shown: set[str]) -> None:
    """Add what a record was made from, recursively: each record once, and none that the chain shows."""
    deeper = here.stage != "checkpoints"
    for source in here.made_from:
        address = source.address if source.exists else next(iter(source.equal), None)
        deleted = None if source.exists else source.address
        text = f"{source.role} [red]{deleted} was deleted" if deleted else source.role
        if deleted:
            text += "; a record with equal content:[/]" if address else "[/]"
        below = tree.add(f"{text} {_named(found, address)}" if address else text)
        if deeper and address in found.records and address not in shown:
            shown.add(address)
            _above(found, found.records[address], below, shown)


def _below(found: RecordTrace, here: RecordFacts, tree: Tree, shown: set[str]) -> None:
    """Add what was made from a record, recursively."""
    for use in here.made_into:
        if use.address in shown:
            continue
        shown.add(use.address)
        by = f" [dim](read another record of {EQUAL})[/]" if use.by == EQUAL else ""
        _below(found, found.records[use.address], tree.add(f"{_named(found, use.address)}{by}"), shown)


def _named(found: RecordTrace, address: str) -> str:
    here = found.records.get(address)
    return escape(address) if here is None else f"{escape(address)} {_state(here.is_current)}"


def _chain(chain: Sequence[ChainLink]) -> Tree:
    """One branch for each checkpoint, newest first, down to the base policy."""
    tree = Tree("[bold]checkpoints, back to the base policy[/]")
    for link in chain:
        branch = tree.add(f"[bold]{link.checkpoint}[/]")
        files = ", ".join(f"{split} {sha[:12]}" for split, sha in link.prompts_files.items())
        criteria = ", ".join(
            f"{each.name} {each.fingerprint[:8]} × {score(each.weight)}{_gate(each.gate)}" for each in link.criteria
        )
        for name, value in (
            ("policy", link.policy),
            ("reward batch", link.reward_batch),
            ("rollouts", link.rollouts and f"{link.rollouts}{_generations(link)}"),
            ("judge scores", link.judge_scores),
            ("rubric", link.rubric),
            ("criteria", criteria),
            ("judge", _judges(link.judges)),
            ("prompts", f"{link.prompts} (files: {files})" if link.prompts else None),
        ):
            branch.add(Text(f"{name:<12} {value or 'deleted'}"))
    tree.add(f"[bold]{chain[-1].policy or 'deleted'}[/]")
    return tree


def _generations(link: ChainLink) -> str:
    return f", in {link.generations} generations" if link.generations else ""


def _criteria_table(criteria: Iterable[CriterionUse]) -> Table:
    made = table("criterion", "fingerprint", "protocol", "weight", "gate", "asks")
    for each in criteria:
        asks = {name: value for name, value in each.asks["judge"].items() if name != "protocol"}
        identity = (each.name, each.fingerprint, each.protocol)
        made.add_row(*identity, score(each.weight), gate(each.gate), escape(plain(_pairs(asks), 160)))
    return made


def _rollout(found: RolloutTrace) -> None:
    here = found.rollout
    line(f"[bold]rollout {here.rollout_id}[/]")
    _prompt_head(found.prompt)
    _facts(
        {
            "policy": _policy(here),
            "generation": None if here.generation is None else str(here.generation),
            "sampling": f"{here.sampling}, sample {here.sample_index}",
            "tokens": f"{here.tokens or 'unknown'}, finish reason {here.finish_reason}",
            "records": ", ".join(here.records) or "none",
        }
    )
    for name, text in (("thought", here.thought), ("completion", here.completion)):
        if text or name == "completion":
            out.print(Text.assemble((f"\n{name}\n", "bold"), printable(text)))
    out.print()
    out.print(judgements_table(here.judgements) if here.judgements else "no judgements")
    _batches(here)
    trained = ", ".join(found.trained) or "none"
    line(f"\n[bold]checkpoints trained on it[/]: {trained}")


def _policy(here: RolloutFacts) -> str:
    if here.generation not in (None, 1):
        return f"the policy after {here.generation - 1} generations of the round ({here.policy})"
    if here.policy == TRACES:
        return "sampled by another program; replayed from traces"
    return f"{', '.join(here.policy_records) or 'its record was deleted'} (content {here.policy})"


def _batches(here: RolloutFacts) -> None:
    made = table("record", "reward", "advantage", "excluded", "labelled by people", "")
    for batch in here.batches:
        facts = (score(batch.reward), f"{batch.advantage:+.3f}", batch.excluded or "no", ", ".join(batch.labelled))
        made.add_row(batch.address, *facts, f"{'gated ' if batch.gated else ''}{_state(batch.is_current)}")
    for report in here.evaluations:
        state = f"{'gated ' if report.gated else ''}{_state(report.is_current)}"
        made.add_row(report.address, score(report.reward), "", "held out", "", state)
    out.print()
    out.print(made if made.row_count else "in no reward batch or eval report")
    for weights, addresses in _by_weights([*here.batches, *here.evaluations]):
        shares = _pairs({name: score(weight) for name, weight in weights.items()})
        line(f"reward in {', '.join(addresses)}: the mean of the scores, weighted {shares}")
    for batch in here.batches:
        if batch.group_weights:
            kept = _pairs({name: score(weight) for name, weight in batch.group_weights.items()})
            line(f"{batch.address}: weights kept in this group, because of the judge's noise: {kept}")
    for each in here.preferences:
        line(f"people on this and {each.other}: {each.won} prefer this one, {each.lost} the other, {each.ties} neither")


def _by_weights(
    found: Iterable[BatchFacts | EvaluationFacts],
) -> list[tuple[dict[str, float], list[str]]]:
    """The known weights of rewards, each with the records that use it."""
    told: list[tuple[dict[str, float], list[str]]] = []
    for each in found:
        known = next((addresses for weights, addresses in told if weights == each.weights), None)
        if known is not None:
            known.append(each.address)
        elif each.weights:
            told.append((each.weights, [each.address]))
    return told


def _prompt(found: PromptTrace) -> None:
    line(f"[bold]prompt {found.prompt.prompt_id}[/]")
    _prompt_head(found.prompt)
    out.print()
    out.print(_rounds_table(found.rounds) if found.rounds else "in no reward batch or eval report")
    rollouts = table("rollout", "policy", "tokens", "scores", "reward", "advantage", "completion")
    for each in found.rollouts:
        policy = each.policy_records[0] if each.policy_records else each.policy
        completion = escape(plain(each.completion, 80))
        rollouts.add_row(each.rollout_id, policy, str(each.tokens), *_judged(each), completion)
    out.print()
    out.print(rollouts if rollouts.row_count else "no rollouts")


def _judged(rollout: RolloutFacts) -> tuple[str, str, str]:
    """Scores, reward and advantage in the current record, or in the newest if none is current."""
    found: list[BatchFacts | EvaluationFacts] = [*rollout.batches, *rollout.evaluations]
    if not found:
        return "", "", ""
    newest = max(reversed(found), key=lambda each: each.is_current)
    advantage = newest.excluded or f"{newest.advantage:+.3f}" if isinstance(newest, BatchFacts) else "held out"
    return escape(_pairs(newest.scores)), score(newest.reward), advantage


def _rounds_table(rounds: Iterable[PromptRound]) -> Table:
    made = table("campaign", "round", "split", "rollouts", "mean reward", "record", "trained")
    for each in rounds:
        record = f"{each.record} {_state(each.is_current)}"
        counts = (str(each.rollouts), score(each.mean_reward))
        made.add_row(each.campaign, str(each.round), each.split, *counts, record, ", ".join(each.checkpoints))
    return made


def _prompt_head(prompt: PromptFacts) -> None:
    names = dict.fromkeys(f"{each.record.partition('/')[0]}: {each.id} ({each.split})" for each in prompt.names)
    text = "deleted: no prompts record has it" if prompt.text is None else plain(prompt.text, SHORT)
    _facts({"prompt": f"{prompt.prompt_id} {', '.join(names)}", "text": text})


def _criterion(version: CriterionVersion) -> None:
    line(f"[bold]criterion {version.fingerprint}[/] {', '.join(version.names)}")
    asks = {"first used": version.created, **version.asks["judge"]}
    _facts({name: value if isinstance(value, str) else _pairs({"": value}) for name, value in asks.items()})
    judged = Tree("[bold]judged in[/]")
    for each in version.judge_scores:
        by = each.judge if each.judge == "rule" else f"judge {each.judge}"
        judged.add(f"{each.address} {_state(each.is_current)} mean {score(each.mean)}, {by}")
    for address in version.eval_reports:
        judged.add(f"{address} [dim]held out[/]")
    out.print(judged)
    if version.unweighted:
        line(f"without weight in {', '.join(version.unweighted)}")
    for title, influences in (
        ("trained on it", version.direct),
        ("trained from these", version.by_descent),
    ):
        tree = Tree(f"[bold]{title}[/]")
        for influence in influences:
            tree.add(_influence(influence))
        out.print(tree if influences else f"[bold]{title}[/]: no checkpoint")
    out.print()


def _influence(each: Influence) -> str:
    share = "" if each.weight is None else f", weight {each.weight:.3f}"
    by = f" [dim](by {EQUAL})[/]" if each.by == EQUAL else ""
    return f"{each.address} {_state(each.is_current)} from {each.via}{share}{_gate(each.gate)}{by}"


def _facts(facts: dict[str, str | None]) -> None:
    """Names and values, one a line, without empty values."""
    for name, value in facts.items():
        if value:
            out.print(Text(f"  {name:<14} {value}"), soft_wrap=True)


def _gate(bound: float | None) -> str:
    return "" if bound is None else f", gate {gate(bound)}"


def _judges(judges: Iterable[JudgeWeights]) -> str:
    shown = (
        judge.content_hash + (f" (the weights of {', '.join(judge.same_as)})" if judge.same_as else "")
        for judge in judges
    )
    return ", ".join(shown) or "rules only"


def _state(current: bool) -> str:
    return "[green]current[/]" if current else "[dim]not current[/]"


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_plain(value)}".strip() for name, value in values.items())


def _plain(value: Any) -> str:
    match value:
        case float():
            return f"{value:.4g}"
        case dict():
            return f"({_pairs(value)})"
        case list() | tuple():
            return "; ".join(_plain(item) for item in value)
        case None:
            return "–"
        case _:
            return str(value)
