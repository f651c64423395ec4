"""Changing the champion: by a decision, by a person, or by a rollback; in the home's file and in MLflow's registry."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rft_pipeline.campaign import Campaign, cycles
from rft_pipeline.errors import GateError, StoreError
from rft_pipeline.pipeline import registry
from rft_pipeline.pipeline.against_champion import why_worse
from rft_pipeline.pipeline.card import card_facts
from rft_pipeline.pipeline.outcomes import Outcome, may_replace, outcome_of, why_it_stays
from rft_pipeline.promotion.decide import although
from rft_pipeline.report.card import render_card, without_metadata
from rft_pipeline.stages.eval_reports import NUMBERS
from rft_pipeline.stages.promotion import decision_of, trained_on
from rft_pipeline.store import Home, Record, RecordStore, champions
from rft_pipeline.store.champions import Champion, History


def apply_decision(campaign: Campaign, home: Home, record: Record) -> Outcome:
    """Promote the round that a promotion's record chose, if it may be promoted, and update MLflow's registry."""
    with champions.locked(home.root, campaign.name) as known:
        new = _decided(campaign, home, known, record)
        changed = known if new is None else champions.promote(known, new)
        if new is not None:
            champions.write(home.root, campaign.name, changed)
        mirror(campaign, home)
        return outcome_of(changed, record)


def _decided(campaign: Campaign, home: Home, known: History, record: Record) -> Champion | None:
    """The champion by a decision; None when the decision changes nothing.

    Weights that a person rolled back from need a person to promote them again. A cached record changes the champion
    only if the run that made it was killed before it did.
    """
    decided = decision_of(record)
    if decided["promoted"] is None or not may_replace(known, record):
        return None
    new = _champion(home, campaign, record, decided["promoted"], decided["said"], forced=False)
    applied_before = record.cached and champions.was_promoted(known, new)
    rolled_back = champions.rollback_reason(known, new.content_hash) is not None
    return None if applied_before or rolled_back or _is_current(known, new) else new


def end_cycle(campaign: Campaign, home: Home, record: Record, outcome: Outcome, train: str) -> None:
    """Write a decision's outcome into the current cycle, if all its rounds were made from the cycle's prompts
    and start.

    `train` is the hash of the file of prompts.
    """
    records = RecordStore(home.store)
    cycle, prompts = cycles.cycle_of(campaign, home), records.current(f"{campaign.name}/prompts")
    if cycle is None or prompts is None or prompts.payload["inputs"]["train"] != train:
        return
    if trained_on(record, records) != {prompts.parts["train"]}:
        return
    if cycle.policy is not None and record.payload["inputs"]["base"] != cycle.policy.content_hash:
        return
    cycles.finish(cycle, {"promoted": outcome.round_name, "decision": outcome.summary, "promotion": record.address})


def promote(campaign: Campaign, home: Home, round_: int | None, *, force: bool, why: str) -> Champion:
    """Promote a round because a person asks: the one that was chosen, or one that passed; any round by force.

    Raises `GateError` with the bounds it failed, `StoreError` when nothing was decided yet.
    """
    record = RecordStore(home.store).current(f"{campaign.name}/promotion")
    if record is None:
        raise StoreError(
            f"{campaign.name}: no promotion was decided yet; "
            f"`rft run {campaign.name}` runs {_rounds(campaign)} and decides"
        )
    decided = decision_of(record)
    chosen = decided["promoted"] if round_ is None else round_
    if chosen is None:
        raise GateError(f"{campaign.name}: {decided['said']}\nTo promote a round anyway: {_by_force(campaign, 'N')}")
    compared = _comparison(decided, chosen)
    if not force and (refusal := _refusal(campaign, record, decided, chosen)):
        raise GateError(f"{refusal}\n{_would_replace(campaign, home)}")
    reason = next((bound["said"] for bound in compared["bounds"]), "") if compared else decided["said"]
    with champions.locked(home.root, campaign.name) as known:
        new = _champion(home, campaign, record, chosen, why or reason, forced=force)
        now = champions.current(known)
        if not (force or _is_current(known, new) or may_replace(known, record)):
            raise GateError(_not_compared(campaign, now, record, chosen))
        if not (force or now is None or _is_current(known, new) or now.content_hash == _compared_with(record)):
            _refuse_worse(campaign, home, record, now, chosen)
        champions.write(home.root, campaign.name, champions.promote(known, new))
        mirror(campaign, home)
        show_champions(home, campaign.name)
        return new


def _compared_with(record: Record) -> str:
    """Content hash of the policy that a decision's rounds were compared with."""
    return str(record.payload["inputs"]["champion"])


def _refuse_worse(campaign: Campaign, home: Home, record: Record, now: Champion, chosen: int) -> None:
    """Raise `GateError` for a round that is worse than the champion, which the same decision compared."""
    if why := why_worse(campaign, home, record, now, chosen):
        raise GateError(
            f"{campaign.name}: round {chosen} is not promoted over round {now.round} ({now.record}), the champion "
            f"since {now.when}: {why}.\n{_anyway(campaign, chosen)}"
        )


def show_champions(home: Home, campaign: str) -> None:
    """Bring up to date: the decision on the campaign's report, the champions on its promotion page, and those on the
    index of reports."""
    from rft_pipeline.report.published import published_campaigns, write_champions, write_decision, write_index

    if (found := _decision_on_the_report(home, campaign)) is None:
        write_decision(home.reports, campaign)
    else:
        write_decision(home.reports, campaign, found.promoted is not None, found.decision, found.stays)
    write_champions(home.reports, campaign, champions.history(home.root, campaign))
    if names := published_campaigns(home.reports):
        write_index(home.reports, {name: champions.champion(home.root, name) for name in names})


def _decision_on_the_report(home: Home, campaign: str) -> Outcome | None:
    """The outcome of the current decision, if it was decided on the report that is shown."""
    from rft_pipeline.report.published import numbers_of

    records = RecordStore(home.store)
    record = records.current(f"{campaign}/promotion")
    report = None if record is None else records.at(record.upstream["eval_reports"])
    if record is None or report is None:
        return None
    if report.path(NUMBERS).read_text(encoding="utf-8") != numbers_of(home.reports, campaign):
        return None
    found = outcome_of(champions.history(home.root, campaign), record)
    decided = decision_of(record)
    if decided["promoted"] is None:
        return found
    chosen = next(each for each in decided["rounds"] if each["round"] == decided["promoted"])
    passed = f"passes every bound against {decided['champion']}{although(chosen['alarm'])}"
    if found.promoted is None:
        return replace(found, decision=f"round {decided['promoted']} {passed}")
    return replace(found, decision=f"round {decided['promoted']} is the champion: it {passed}")


def _comparison(decided: Mapping[str, Any], round_: int) -> dict[str, Any] | None:
    """What a decision found for a round; None for a round with the champion's weights, or of another run."""
    return next((each for each in decided["rounds"] if each["round"] == round_), None)


def _refusal(campaign: Campaign, record: Record, decided: Mapping[str, Any], chosen: int) -> str:
    """Why a decision gives no evidence for a round; empty when the round passed."""
    compared = _comparison(decided, chosen)
    if f"checkpoints_{chosen}" not in record.upstream:
        roles = [role for role in record.upstream if role.startswith("checkpoints_")]
        rounds = ", ".join(sorted((role.removeprefix("checkpoints_") for role in roles), key=int))
        return (
            f"{campaign.name}: round {chosen} was never compared: the current decision is on rounds {rounds}; "
            f"`rft run {campaign.name}` runs {_rounds(campaign)} and decides again"
        )
    if compared is None:
        return (
            f"{campaign.name}: round {chosen} has the weights of the champion that the rounds were compared with, so "
            f"there is no evidence that it is better.\n{_anyway(campaign, chosen)}"
        )
    if compared["passed"]:
        return ""
    failed = "\n".join(f"  {bound['said']}" for bound in compared["bounds"] if not bound["passed"])
    return (
        f"{campaign.name}: round {chosen} is not promoted over {decided['champion']}:\n{failed}\n"
        f"{_anyway(campaign, chosen)}"
    )


def _not_compared(campaign: Campaign, now: Champion | None, record: Record, chosen: int) -> str:
    """Why a round that passed cannot replace the current champion."""
    if now is None:
        return (
            f"{campaign.name}: round {chosen} is not promoted: the rounds were compared with "
            f"{decision_of(record)['champion']}, and now there is no champion; "
            f"`rft run {campaign.name}` compares them with base.\n{_anyway(campaign, chosen)}"
        )
    return (
        f"{campaign.name}: round {chosen} is not promoted over round {now.round} ({now.record}), the current "
        f"champion: {why_it_stays(now, record)}, so there is no evidence that the round is better.\n"
        f"`rft rollback {campaign.name}` goes back to the previous champion. {_anyway(campaign, chosen)}"
    )


def _rounds(campaign: Campaign) -> str:
    return "its round" if campaign.rounds == 1 else f"all {campaign.rounds} rounds"


def _anyway(campaign: Campaign, round_: int) -> str:
    return f"To promote it anyway: {_by_force(campaign, round_)}"


def _would_replace(campaign: Campaign, home: Home) -> str:
    now = champions.champion(home.root, campaign.name)
    if now is None:
        return "It would replace base: there is no champion."
    return f"It would replace round {now.round} ({now.record}), the champion since {now.when}."


def _by_force(campaign: Campaign, round_: int | str) -> str:
    return f'rft promote {campaign.name} --round {round_} --force --why "…"'


def roll_back(campaign: Campaign, home: Home, why: str) -> tuple[Champion, Champion | None]:
    """Go back to the previous champion; returns the one that was left and the current one, None for base.

    Raises `StoreError` without a champion, and when the previous champion's weights are gone.
    """
    with champions.locked(home.root, campaign.name) as known:
        left, earlier = champions.current(known), champions.previous(known)
        if left is None:
            raise StoreError(f"{campaign.name} has no champion to roll back from")
        if earlier is not None and RecordStore(home.store).at(earlier.record) is None:
            raise StoreError(
                f"{campaign.name}: the previous champion, round {earlier.round}, is gone: record {earlier.record} is "
                f"missing or incomplete. Round {left.round} stays the champion; to replace it: "
                f"{_by_force(campaign, 'N')}"
            )
        champions.write(home.root, campaign.name, champions.rollback(known, why))
        mirror(campaign, home)
        show_champions(home, campaign.name)
        return left, earlier


def _is_current(known: History, new: Champion) -> bool:
    now = champions.current(known)
    return now is not None and now.content_hash == new.content_hash


def checkpoint_of(campaign: Campaign, home: Home, round_: int) -> Record:
    """The current checkpoint of a round. Raises `StoreError` when there is none."""
    record = RecordStore(home.store).current(f"{campaign.name}/round_{round_}/checkpoints")
    if record is None:
        raise StoreError(f"{campaign.name}/round_{round_}/checkpoints has no record; run `rft run {campaign.name}`")
    return record


def _champion(home: Home, campaign: Campaign, decided: Record, round_: int, why: str, *, forced: bool) -> Champion:
    records = RecordStore(home.store)
    address = decided.upstream.get(f"checkpoints_{round_}")
    checkpoint = None if address is None else records.at(address)
    if checkpoint is None:
        checkpoint = checkpoint_of(campaign, home, round_)
    cycle = cycles.cycle_of(campaign, home)
    return Champion(
        record=checkpoint.address,
        content_hash=checkpoint.content_hash,
        round=round_,
        evidence=decided.payload["inputs"]["eval_reports"],
        report=decided.upstream["eval_reports"],
        why=why,
        forced=forced,
        cycle=None if cycle is None else cycle.number,
    )


def mirror(campaign: Campaign, home: Home) -> None:
    """Make MLflow's registry name the current and the previous champion; this also repairs a registry that lost them.

    Raises `TrackingError`.
    """
    known = champions.history(home.root, campaign.name)
    if not known:
        return

    def named(champion: Champion | None) -> registry.Named | None:
        if champion is None:
            return None
        promotion = champions.promotion_of(known, champion)
        return registry.Named(promotion.record, promotion.when, lambda: _version(campaign, home, promotion))

    aliases = {registry.CHAMPION: champions.current(known), registry.PREVIOUS: champions.previous(known)}
    registry.mirror(home, campaign.name, {alias: named(champion) for alias, champion in aliases.items()})


def _version(campaign: Campaign, home: Home, champion: Champion) -> registry.Version | None:
    records = RecordStore(home.store)
    checkpoint = records.at(champion.record)
    if checkpoint is None:
        return None
    report = records.at(champion.report)
    facts = card_facts(campaign, home, checkpoint, report, champion.why, forced=champion.forced)
    name, title = f"round-{champion.round}", f"Round {champion.round}"
    tags = {"rft.round": str(champion.round), "rft.forced": str(champion.forced).lower()}
    if champion.cycle is not None:
        name, title = f"cycle-{champion.cycle}-{name}", f"{title} of cycle {champion.cycle}"
        tags["rft.cycle"] = str(champion.cycle)
    tags["rft.content_hash"] = champion.content_hash
    why = " ".join(champion.why.split()).removeprefix(f"round {champion.round} is ")
    headline = f"{title}: {why}"  # the table of versions shows the first line
    card = f"{headline}\n\n{without_metadata(render_card(facts))}"
    return registry.Version(name, checkpoint.path("checkpoint"), checkpoint.mlflow_run_id, card, tags)
