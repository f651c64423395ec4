"""Moving the champion: by a decision, by a person, or back; the pointer, the MLflow registry and the model card."""

from rft_pipeline.campaign import Campaign, cycles
from rft_pipeline.errors import GateError, StoreError
from rft_pipeline.pipeline import registry
from rft_pipeline.pipeline.card import card_facts
from rft_pipeline.pipeline.outcomes import Outcome, may_replace, outcome_of, why_it_stays
from rft_pipeline.report.card import render_card, without_metadata
from rft_pipeline.stages.promotion import decision_of, trained_on
from rft_pipeline.store import Home, Record, RecordStore, champions
from rft_pipeline.store.champions import Champion, History


def crown_decided(campaign: Campaign, home: Home, record: Record) -> Outcome:
    """Move the champion to the round that a promotion's record chose, if it chose one and may, and let MLflow's
    registry say who it is, whether it moved or not."""
    with champions.locked(home.root, campaign.name) as known:
        new = _decided(campaign, home, known, record)
        changed = known if new is None else champions.promote(known, new)
        if new is not None:
            champions.write(home.root, campaign.name, changed)
        mirror(campaign, home)
        return outcome_of(changed, record)


def _decided(campaign: Campaign, home: Home, known: History, record: Record) -> Champion | None:
    """Whom a decision makes champion: it moves only one that the rounds were compared with, or an earlier choice on the
    same report. Weights that a person went back from stay away until a person promotes them again. A record that was
    found rather than made moves nothing, unless whoever made it was killed before the champion moved."""
    decided = decision_of(record)
    if decided["promoted"] is None or not may_replace(known, record):
        return None
    new = _champion(home, campaign, record, decided["promoted"], decided["said"], forced=False)
    moved_before = record.cached and champions.was_promoted(known, new)
    rolled_back = champions.rollback_reason(known, new.content_hash) is not None
    return None if moved_before or rolled_back or _is_in_force(known, new) else new


def end_cycle(campaign: Campaign, home: Home, record: Record, outcome: Outcome, train: str) -> None:
    """Write down what became of a promotion's decision as the outcome of the cycle in force, if all its rounds were
    made from the cycle's prompts; `train` is the hash of their file."""
    records = RecordStore(home.store)
    cycle, prompts = cycles.cycle_of(campaign, home), records.current(f"{campaign.name}/prompts")
    if cycle is None or prompts is None or prompts.payload["inputs"]["train"] != train:
        return
    if trained_on(record, records) != {prompts.parts["train"]}:
        return
    told = {"promoted": outcome.round_in_words, "said": outcome.in_words, "promotion": record.address}
    cycles.finish(cycle, told)


def crown(campaign: Campaign, home: Home, round_: int | None, *, force: bool, why: str) -> Champion:
    """Make a round champion because a person asks: the one that was decided for, or one that passed; any by force.

    Raises `GateError` with the bounds it failed, `StoreError` when nothing was decided yet.
    """
    record = RecordStore(home.store).current(f"{campaign.name}/promotion")
    if record is None:
        raise StoreError(
            f"{campaign.name}: no promotion was decided yet, so that there is nothing to promote on; "
            f"`rft run {campaign.name}` runs all {campaign.rounds} rounds and decides"
        )
    decided = decision_of(record)
    chosen = decided["promoted"] if round_ is None else round_
    if chosen is None:
        raise GateError(
            f"{campaign.name}: {decided['said']}\nTo promote a round all the same: "
            f'rft promote {campaign.name} --round N --force --why "…"'
        )
    found = next((each for each in decided["rounds"] if each["round"] == chosen), None)
    if f"checkpoints_{chosen}" not in record.upstream and not force:
        raise GateError(
            f"{campaign.name}: round {chosen} was never compared: the decision in force is on {_rounds_of(record)}; "
            f"`rft run {campaign.name}` runs all {campaign.rounds} rounds and decides again"
        )
    if found is None and not force:
        raise GateError(
            f"{campaign.name}: round {chosen} has the weights of the champion that the rounds were compared with, so "
            "that nothing shows it to be better. To promote it all the same: "
            f'rft promote {campaign.name} --round {chosen} --force --why "…"'
        )
    if found is not None and not found["passed"] and not force:
        failed = "\n".join(f"  {bound['said']}" for bound in found["bounds"] if not bound["passed"])
        raise GateError(
            f"{campaign.name}: round {chosen} is not promoted over {decided['champion']}:\n{failed}\n"
            f'To promote it all the same: rft promote {campaign.name} --round {chosen} --force --why "…"'
        )
    said = next((bound["said"] for bound in found["bounds"]), "") if found else decided["said"]
    with champions.locked(home.root, campaign.name) as known:
        new = _champion(home, campaign, record, chosen, why or said, forced=force)
        if not (force or _is_in_force(known, new) or may_replace(known, record)):
            raise GateError(_not_compared(campaign, champions.current(known), record, chosen))
        champions.write(home.root, campaign.name, champions.promote(known, new))
        mirror(campaign, home)
        return new


def _rounds_of(record: Record) -> str:
    """The rounds that a promotion compared, in words."""
    roles = (role for role in record.upstream if role.startswith("checkpoints_"))
    return f"rounds {', '.join(sorted((role.removeprefix('checkpoints_') for role in roles), key=int))}"


def _not_compared(campaign: Campaign, now: Champion | None, record: Record, chosen: int) -> str:
    all_the_same = f'To promote it all the same: rft promote {campaign.name} --round {chosen} --force --why "…"'
    if now is None:
        return (
            f"{campaign.name}: round {chosen} is not promoted: the rounds were compared with "
            f"{decision_of(record)['champion']}, and by now there is no champion and base is in force; "
            f"`rft run {campaign.name}` compares them with base.\n{all_the_same}"
        )
    return (
        f"{campaign.name}: round {chosen} is not promoted over round {now.round} ({now.record}), the champion in "
        f"force: {why_it_stays(now, record)}, and nothing shows the round to be better than it.\n"
        f"`rft rollback {campaign.name}` goes back from it. {all_the_same}"
    )


def roll_back(campaign: Campaign, home: Home, why: str) -> tuple[Champion, Champion | None]:
    """Go back to the champion before; returns the one that was left and the one in force now, None for base.

    Raises `StoreError` where there is none to go back from, and where the weights to go back to are gone.
    """
    with champions.locked(home.root, campaign.name) as known:
        left, earlier = champions.current(known), champions.previous(known)
        if left is None:
            raise StoreError(f"{campaign.name} has no champion, so that there is nothing to go back from")
        if earlier is not None and RecordStore(home.store).at(earlier.record) is None:
            raise StoreError(
                f"{campaign.name}: the champion before, round {earlier.round}, is gone: {earlier.record} is not there "
                f"or not whole. Round {left.round} stays; to put another in its place: "
                f'rft promote {campaign.name} --round N --force --why "…"'
            )
        changed = champions.rollback(known, why)
        champions.write(home.root, campaign.name, changed)
        mirror(campaign, home)
        return left, earlier


def _is_in_force(known: History, new: Champion) -> bool:
    now = champions.current(known)
    return now is not None and now.content_hash == new.content_hash


def checkpoint_of(campaign: Campaign, home: Home, round_: int) -> Record:
    """The checkpoint of a round that is in force. Raises `StoreError` when there is none."""
    record = RecordStore(home.store).current(f"{campaign.name}/round_{round_}/checkpoints")
    if record is None:
        raise StoreError(f"{campaign.name}/round_{round_}/checkpoints: nothing there; run `rft run {campaign.name}`")
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
    """Let MLflow's registry name the champion and the one before, as the file of champions does; a registry that lost
    them, or a process that was killed between the two, is made good. Raises `TrackingError`."""
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
    card = without_metadata(render_card(facts))
    tags = {"rft.content_hash": champion.content_hash, "rft.round": str(champion.round)}
    tags |= {"rft.forced": str(champion.forced).lower()}
    if champion.cycle is not None:
        card, tags = f"Promoted in cycle {champion.cycle}.\n\n{card}", {**tags, "rft.cycle": str(champion.cycle)}
    return registry.Version(checkpoint.path("checkpoint"), checkpoint.mlflow_run_id, card, tags)
