"""Which judges' noise within a group an audit measures, and why not that of the others."""

from rft_pipeline.audit import Labelled, Noise, Power, Resamples, Verdict, noise
from rft_pipeline.audit.rows import compares
from rft_pipeline.campaign import Audit
from rft_pipeline.campaign.rubric import Criterion


def noise_of(
    criterion: Criterion, labelled: Labelled, found: Verdict, resamples: Resamples, settings: Audit
) -> tuple[Noise | None, str]:
    """The judge's noise within a group, or why it is not measured; neither where nobody asked (`audit.by_group`)."""
    if not settings.by_group:
        return None, ""
    if compares(criterion):
        return None, "its scores compare the replies of a group, so what they err by hangs on who else is in it"
    measured = noise(labelled, resamples)
    if measured is None:
        return None, "no prompt has two scored replies that people labelled"
    if found.power is Power.UNAUDITED:
        return None, "too few labels to conclude anything"
    if measured.prompts < settings.min_prompts:
        return None, f"{measured.prompts} prompts tell of it, below audit.min_prompts {settings.min_prompts}"
    return measured, ""
