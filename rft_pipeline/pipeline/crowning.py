"""Moving the champion: by a decision, by a person, or back; the pointer, the MLflow registry and the model card."""

from rft_pipeline import champions, cycles, registry
from rft_pipeline.campaign import Campaign
from rft_pipeline.champions import Champion, History
from rft_pipeline.errors import GateError, StoreError
from rft_pipeline.pipeline.card import card_facts
from rft_pipeline.pipeline.promotion import decision_of, trained_on
from rft_pipeline.report.card import render_card, without_metadata
from rft_pipeline.store import Home, Record, RecordStore


def crown_decided(campaign: Campaign, home: Home, record: Record) -> Champion | None:
    """Move the champion to the round that a promotion's record chose, if it chose one.

    Weights that a person went back from stay away until a person promotes them again. A record that was found rather
    than made moves nothing, unless whoever made it was killed before the champion moved.
    """
    decided = decision_of(record)
    if decided["promoted"] is None:
        return None
    with champions.changing(home.root, campaign.name) as known:
        new = _champion(home, campaign, record, decided["promoted"], decided["said"], forced=False)
        moved_before = record.cached and any(each.evidence == new.evidence for each in known)
        in_force = bool(known) and known[-1].content_hash == new.content_hash
        if moved_before or in_force or champions.rolled_back(known, new.content_hash):
            return None
        return _crown(campaign, home, known, new)


def end_cycle(campaign: Campaign, home: Home, record: Record, train: str) -> None:
    """Write down the promotion's decision as the outcome of the cycle in force, if all its rounds were made from the
    cycle's prompts; `train` is the hash of their file."""
    records = RecordStore(home.store)
    cycle, prompts = cycles.cycle_of(campaign, home), records.current(f"{campaign.name}/prompts")
    if cycle is None or prompts is None or prompts.payload["inputs"]["train"] != train:
        return
    if trained_on(record, records) != {prompts.parts["train"]}:
        return
    decided = decision_of(record)
    promoted = "none" if decided["promoted"] is None else f"round {decided['promoted']}"
    cycles.finish(cycle, {"promoted": promoted, "said": decided["said"], "promotion": record.address})


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
    passed = found is not None and found["passed"]
    said = next((bound["said"] for bound in found["bounds"]), "") if found else decided["said"]
    with champions.changing(home.root, campaign.name) as known:
        new = _champion(home, campaign, record, chosen, why or said, forced=force and not passed)
        return _crown(campaign, home, known, new)


def roll_back(campaign: Campaign, home: Home, why: str) -> tuple[Champion, Champion]:
    """Go back to the champion before; returns the one that was left and the one in force now.

    Raises `StoreError` where there is none to go back from, or to.
    """
    with champions.changing(home.root, campaign.name) as known:
        if not known:
            raise StoreError(f"{campaign.name} has no champion, so that there is nothing to go back from")
        if champions.before(known) is None:
            raise StoreError(
                f"{campaign.name}: round {known[-1].round} ({known[-1].record}) is the first champion, and there is "
                f"none before it to go back to; to put another in its place: "
                f'rft promote {campaign.name} --round N --force --why "…"'
            )
        changed = champions.back(known, why)
        _point(home, campaign, changed)
        champions.write(home.root, campaign.name, changed)
        return known[-1], changed[-1]


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
    report = records.at(decided.upstream["eval_reports"])
    return Champion(
        record=checkpoint.address,
        content_hash=checkpoint.content_hash,
        round=round_,
        evidence="" if report is None else report.content_hash,
        report="" if report is None else report.address,
        why=why,
        forced=forced,
    )


def _crown(campaign: Campaign, home: Home, known: History, new: Champion) -> Champion:
    records = RecordStore(home.store)
    checkpoint = records.at(new.record)
    assert checkpoint is not None
    facts = card_facts(campaign, home, checkpoint, records.at(new.report), new.why, forced=new.forced)
    weights = checkpoint.path("checkpoint")
    card, cycle = without_metadata(render_card(facts)), cycles.cycle_of(campaign, home)
    tags = {}
    if cycle is not None:
        card, tags = f"Promoted in cycle {cycle.number}.\n\n{card}", {"rft.cycle": str(cycle.number)}
    version = registry.register(home, campaign.name, new, weights, checkpoint.mlflow_run_id, card, tags)
    changed = champions.promoted(known, champions.with_version(new, version))
    _point(home, campaign, changed)
    champions.write(home.root, campaign.name, changed)
    return changed[-1]


def _point(home: Home, campaign: Campaign, changed: History) -> None:
    earlier = champions.before(changed)
    registry.point(home, campaign.name, changed[-1].version, None if earlier is None else earlier.version)
