"""A campaign that cannot be read, shown in place of its assets."""

import dagster as dg

from rft_pipeline.errors import RftError
from rft_pipeline.fingerprint import fingerprint


def unreadable(folder: str, error: RftError) -> dg.AssetsDefinition:
    """An asset `<folder>/unreadable` that describes what is wrong, and fails with it when it is materialized.

    The step has a name made of a hash, since a folder may have a name that Dagster does not allow for steps.
    """
    shown = dg.AssetOut(
        key=dg.AssetKey([folder, "unreadable"]),
        group_name="unreadable",
        description=f"{error}\n\nOnce this is corrected, reload the definitions.",
        metadata={"error": str(error)},
        kinds={"yaml"},
    )

    @dg.multi_asset(name=f"unreadable_{fingerprint(folder)}", outs={"unreadable": shown})
    def _unreadable() -> None:
        raise dg.Failure(str(error), allow_retries=False)

    return _unreadable
