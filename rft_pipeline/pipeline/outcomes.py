"""The outcome of a promotion's decision: the chosen round is the champion, or another champion stays, and why."""

from contextlib import suppress
from dataclasses import dataclass

from rft_pipeline.errors import RftError
from rft_pipeline.stages.promotion import FIRST_POLICY, decision_of
from rft_pipeline.store import Home, Record, RecordStore, champions
from rft_pipeline.store.champions import Champion, History


@dataclass(frozen=True)
class Outcome:
    """A decision, compared with the current champion."""

    promoted: int | None
    """The chosen round, if its weights are the current champion's."""
    decision: str
    """In words."""
    stays: str | None = None
    """Why the champion differs from the decision; None where it agrees."""

    @property
    def round_name(self) -> str:
        return "none" if self.promoted is None else f"round {self.promoted}"

    @property
    def in_brief(self) -> str:
        return "nothing promoted" if self.promoted is None else f"{self.round_name} promoted"

    @property
    def summary(self) -> str:
        """The decision, and why the champion differs from it where it does."""
        return self.decision if self.stays is None else f"{self.decision}; {self.stays}"


def may_replace(known: History, record: Record) -> bool:
    """Whether a decision may replace the current champion.

    It may when its rounds were compared with that champion (with base while there is none), or when an earlier
    decision on the same eval report chose that champion and no person forced it.
    """
    inputs, now = record.payload["inputs"], champions.current(known)
    if now is None:
        return inputs["champion"] in (inputs["base"], inputs.get(FIRST_POLICY))
    if now.content_hash == inputs["champion"]:
        return True
    return now.evidence == inputs["eval_reports"] and not now.forced


def outcome(home: Home, record: Record) -> Outcome:
    """The outcome of a promotion's decision so far."""
    return outcome_of(champions.history(home.root, record.key.partition("/")[0]), record)


def verdicts(home: Home) -> dict[str, str]:
    """Campaign → what its newest promotion decided, in two or three words; without campaigns that have none, or whose
    record cannot be read."""
    records, found = RecordStore(home.store), {}
    for campaign in home.campaigns():
        with suppress(RftError, OSError):
            if (record := records.current(f"{campaign}/promotion")) is not None:
                found[campaign] = outcome(home, record).in_brief
    return found


def outcome_of(known: History, record: Record) -> Outcome:
    """The outcome of a promotion's decision, by the champions' history."""
    decided, now = decision_of(record), champions.current(known)
    chosen = next((each["policy"] for each in decided["rounds"] if each["round"] == decided["promoted"]), None)
    current = None if now is None else now.content_hash
    if chosen is not None and chosen == current:
        return Outcome(decided["promoted"], decided["said"])
    if chosen is None and current in (None, record.payload["inputs"]["champion"]):
        return Outcome(None, decided["said"])
    campaign = record.key.partition("/")[0]
    advice = f"`rft promote {campaign}` promotes it"
    if not may_replace(known, record):
        advice = f"`rft run {campaign}` decides again"
    if chosen is not None and (why := champions.rollback_reason(known, chosen)) is not None:
        stays = f"round {decided['promoted']} is not the champion: a person rolled back from it ({why}); {advice}"
    elif now is None:
        stays = f"round {decided['promoted']} is not the champion yet; {advice}"
    else:
        stays = (
            f"{_named(known, now, record)} stays the champion until a person changes it: {why_it_stays(now, record)} "
            f"({now.why}); change it with `rft rollback {campaign}` or `rft promote {campaign}`"
        )
    return Outcome(None, decided["said"], stays)


def why_it_stays(now: Champion, record: Record) -> str:
    """Why a decision does not replace the current champion."""
    if now.forced:
        return "a person promoted it by force"
    if not now.evidence:
        return "a person rolled back to it"
    if now.evidence == record.payload["inputs"]["eval_reports"]:
        return "it was promoted on the same replies before"
    return f"the rounds were compared with {decision_of(record)['champion']} and not with it"


def _named(known: History, now: Champion, record: Record) -> str:
    """Its round if the decision compared that round, else its record."""
    evidence = champions.promotion_of(known, now).evidence
    return f"round {now.round}" if evidence == record.payload["inputs"]["eval_reports"] else now.record
