"""A campaign that cannot be read, shown in place of its assets."""

import dagster as dg

from rft_pipeline.errors import RftError
from rft_pipeline.fingerprint import fingerprint


def unreadable(folder: str, error: RftError) -> dg.AssetsDefinition:
    """An asset `<folder>/unreadable` whose description is the error; materializing it fails with the same error.

    The step is named by a hash, because Dagster does not allow every folder's name for a step.
    """
    shown = dg.AssetOut(
        key=dg.AssetKey([folder, "unreadable"]),
        group_name="unreadable",
        description=f"{error}\n\nFix it and reload the definitions.",
        metadata={"error": str(error)},
        kinds={"yaml"},
    )

    @dg.multi_asset(name=f"unreadable_{fingerprint(folder)}", outs={"unreadable": shown})
    def _unreadable() -> None:
        raise dg.Failure(str(error), allow_retries=False)

    return _unreadable
