"""The part of `rft check` on interaction logs: how much a cycle would draw, and what stops or weakens it."""

from dataclasses import dataclass

from rft_pipeline.campaign import Campaign
from rft_pipeline.errors import ConfigError
from rft_pipeline.pipeline.retraining import next_cycle
from rft_pipeline.progress import counted
from rft_pipeline.prompts.logs import unread_files
from rft_pipeline.store import Home


@dataclass(frozen=True)
class CheckedLogs:
    """Logs that can be read."""

    summary: str
    """The formats of the logs, and what the next cycle would draw."""
    warnings: tuple[str, ...]


def check_logs(campaign: Campaign, home: Home) -> CheckedLogs | None:
    """Read the logs as the next cycle would, and write nothing; None for a campaign that does not retrain.

    Raises what would stop the cycle: `ConfigError`, `DataError` with a line for each row that cannot be read,
    `StoreError` for a champion whose record is gone.
    """
    retrain = None if campaign.schedule is None else campaign.schedule.retrain
    if retrain is None:
        return None
    where = campaign.folder / "campaign.yaml"
    if retrain.redact_with is not None:
        try:
            retrain.redact_with.load()
        except ConfigError as error:
            raise ConfigError(f"{where}: schedule.retrain.redact_with: {error}") from error
    found = next_cycle(campaign, home)
    warnings = []
    if found.refusal is not None:
        warnings.append(f"{where}: schedule.retrain: no cycle would begin now: {found.refusal}")
    elif len(found.drawn.rows) < (wanted := campaign.rollouts.prompts_per_round):
        warnings.append(
            f"{where}: schedule.retrain: a cycle would draw {counted(len(found.drawn.rows), 'prompt')}, fewer than a "
            f"round's rollouts.prompts_per_round of {wanted}; each round takes all of them"
        )
    if found.unusable:
        warnings.append(
            f"{where}: schedule.retrain.logs: {counted(len(found.unusable), 'row')} without a usable prompt "
            f"(e.g. {found.unusable[0]})"
        )
    if unread := unread_files(campaign.folder, retrain.logs):
        warnings.append(
            f"{where}: schedule.retrain.logs: {counted(len(unread), 'file')} of another format left unread "
            f"(e.g. {unread[0]})"
        )
    read = "; ".join(found.formats)
    summary = f"cycle {found.number} would draw {found.summary}"
    return CheckedLogs(f"{read}; {summary}" if read else summary, tuple(warnings))
