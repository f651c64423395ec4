"""What `rft status` prints."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.markup import escape
from rich.text import Text

from rft_pipeline.cli.campaign_status import CampaignStatus, Decided
from rft_pipeline.cli.console import line, out
from rft_pipeline.cli.words import plain, score
from rft_pipeline.store import Home

LONGEST = 240
"""Characters of a reason or an error."""
VERDICTS = {"finished": "green", "running": "yellow", "queued": "yellow"}


def show(home: Home, found: Sequence[CampaignStatus]) -> None:
    """The folders; then a few lines a campaign, or one line for a campaign that never ran."""
    line(escape(f"campaigns in {home.data}, results in {home.root}" if found else home.no_campaign))
    for each in found:
        if never_ran(each):
            line(f"[bold]{escape(each.campaign)}[/]  never run: `rft run {escape(each.campaign)}`")
            continue
        line(f"[bold]{escape(each.campaign)}[/]")
        for name, text in _lines(each):
            out.print(Text.from_markup(f"  {name:<9} {text}"), soft_wrap=True)


def never_ran(each: CampaignStatus) -> bool:
    something = (each.errors, each.last_run, each.champion, each.decided, each.next, each.labels_wanted, each.pages)
    return not any(something) and len(each.stale) == each.stages


def _lines(each: CampaignStatus) -> Iterator[tuple[str, str]]:
    for error in each.errors:
        yield "error", f"[bold red]{escape(plain(error, LONGEST))}[/]"
    if (now := each.champion) is not None:
        bounds = f" ({score(now.lower95)} … {score(now.upper95)})" if now.lower95 is not None else ""
        forced = ", promoted by force" if now.forced else ""
        yield "champion", f"round {now.round}, reward {score(now.reward)}{bounds}, since {_time(now.since)}{forced}"
    else:
        yield "champion", "none: base is used"
    yield "last run", _run(each)
    if each.decided is not None:
        yield "decided", escape(_promotion(each.decided))
    if each.alarms is not None and each.alarms.causes:
        yield "alarms", f"[yellow]{each.alarms.level}[/] in round {each.alarms.round}: {', '.join(each.alarms.causes)}"
    if each.stages:
        yield "stale", escape(_stale(each))
    for tick in each.next:
        off = ", but the schedule is stopped in Dagster" if tick.stopped else ""
        yield "next", f"{tick.what} at {tick.at.replace('T', ' ')}{off}"
    for wanted in each.labels_wanted:
        yield "labels", escape(plain(wanted, LONGEST))
    for title, address in each.pages.items():
        yield "page", f"{title}: {escape(address)}"


def _run(each: CampaignStatus) -> str:
    run = each.last_run
    if run is None:
        return "none" if each.decided is None else "unknown to Dagster"
    verdict = f"{'audit ' if run.what == 'audit' else ''}[{VERDICTS.get(run.verdict, 'red')}]{run.verdict}[/]"
    when = _time(run.ended or run.began)
    if run.verdict in ("queued", "running"):
        doing = "; ".join(f"{key.partition('/')[2]}: {text}" for key, text in run.doing.items())
        return f"{verdict} since {_time(run.began)}{': ' + escape(plain(doing, LONGEST)) if doing else ''}"
    return f"{verdict} {when}{': ' + escape(plain(run.why, LONGEST)) if run.why else ''}"


def _promotion(decided: Decided) -> str:
    if decided.promoted is None:
        return f"no round promoted: {decided.why}"
    return f"round {decided.promoted} promoted: {decided.why}"


def _stale(each: CampaignStatus) -> str:
    """How many stages are stale, and the reasons of the first that has its own."""
    if not each.stale:
        return "nothing"
    if each.edit is not None:
        return plain(each.edit, LONGEST)
    run = f"; `rft run {each.campaign}` makes them"
    first = each.stale[0]
    why = f"{first.key.partition('/')[2]}: {'; '.join(first.reasons)}"
    return plain(f"{len(each.stale)} of {each.stages} stages; {why}", LONGEST - len(run)) + run


def _time(iso: str | None) -> str:
    """In the local time zone, to the minute."""
    return "–" if iso is None else datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M")
