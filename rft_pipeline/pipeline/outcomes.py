"""What became of a promotion's decision: the round it chose is in force, or another champion stays, and why."""

from dataclasses import dataclass

from rft_pipeline.stages.promotion import decision_of
from rft_pipeline.store import Home, Record, champions
from rft_pipeline.store.champions import Champion, History


@dataclass(frozen=True)
class Outcome:
    """Of one decision, by the champion in force."""

    promoted: int | None
    """The round that was chosen, where its weights are in force."""
    said: str
    """What was decided."""
    stays: str | None = None
    """Why the champion is another than was decided; None where it is not."""

    @property
    def round_in_words(self) -> str:
        return "none" if self.promoted is None else f"round {self.promoted}"

    @property
    def in_words(self) -> str:
        """What was decided, and why the champion is another where it is."""
        return self.said if self.stays is None else f"{self.said}; {self.stays}"


def may_replace(known: History, record: Record) -> bool:
    """Whether a decision may move the champion in force: its rounds were compared with it (with base while there is
    none), or it was the choice of an earlier decision on the same eval report and no person's."""
    inputs, now = record.payload["inputs"], champions.current(known)
    if now is None:
        return bool(inputs["champion"] == inputs["base"])
    if now.content_hash == inputs["champion"]:
        return True
    return now.evidence == inputs["eval_reports"] and not now.forced


def outcome(home: Home, record: Record) -> Outcome:
    """What became of a promotion's decision by now."""
    return outcome_of(champions.history(home.root, record.key.partition("/")[0]), record)


def outcome_of(known: History, record: Record) -> Outcome:
    """What the champions' history says of a promotion's decision."""
    decided, now = decision_of(record), champions.current(known)
    chosen = next((each["policy"] for each in decided["rounds"] if each["round"] == decided["promoted"]), None)
    in_force = None if now is None else now.content_hash
    if chosen is not None and chosen == in_force:
        return Outcome(decided["promoted"], decided["said"])
    if chosen is None and in_force in (None, record.payload["inputs"]["champion"]):
        return Outcome(None, decided["said"])
    campaign = record.key.partition("/")[0]
    asks = (
        f"`rft promote {campaign}` makes it so" if may_replace(known, record) else f"`rft run {campaign}` decides anew"
    )
    if chosen is not None and (left := champions.rollback_reason(known, chosen)) is not None:
        stays = f"round {decided['promoted']} is not the champion, since a person went back from it ({left}); {asks}"
    elif now is None:
        stays = f"round {decided['promoted']} is not the champion yet; {asks}"
    else:
        stays = (
            f"{_named(known, now, record)} stays the champion until a person moves it: {why_it_stays(now, record)} "
            f"({now.why}); `rft rollback {campaign}` goes back, `rft promote {campaign}` elsewhere"
        )
    return Outcome(None, decided["said"], stays)


def why_it_stays(now: Champion, record: Record) -> str:
    """Why a decision does not move the champion in force."""
    if now.forced:
        return "a person promoted it by force"
    if not now.evidence:
        return "a person went back to it"
    if now.evidence == record.payload["inputs"]["eval_reports"]:
        return "it was promoted on the same replies before"
    return f"the rounds were compared with {decision_of(record)['champion']} and not with it"


def _named(known: History, now: Champion, record: Record) -> str:
    """By its round where that is one of those compared, else by its record."""
    evidence = champions.promotion_of(known, now).evidence
    return f"round {now.round}" if evidence == record.payload["inputs"]["eval_reports"] else now.record
