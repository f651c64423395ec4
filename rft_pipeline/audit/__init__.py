"""Audit: does a criterion's judge agree with people, and with what weight may it train?

`agreement` compares scores with people's labels, `bias` measures what edits of a reply (`PROBES`) do to scores,
`calibration` compares scores with shares of good labels; `verdict` combines the three. Nothing here calls a judge:
scores are arrays, with NaN for unscored.
"""

from rft_pipeline.audit.agreement import Agreement, Split, agreement
from rft_pipeline.audit.annotators import People, people
from rft_pipeline.audit.bias import Effect, Order, effects, length_correlation, order_effect, own_family_gap
from rft_pipeline.audit.calibration import Calibration, calibration, calibration_on, reliability
from rft_pipeline.audit.labelled import Labelled
from rft_pipeline.audit.noise import Noise, noise
from rft_pipeline.audit.probes import PROBES, Kind, Probe
from rft_pipeline.audit.ranking import auc
from rft_pipeline.audit.resample import Resamples
from rft_pipeline.audit.stability import Retest, order_of_pairs, order_of_rankings, retest
from rft_pipeline.audit.verdict import Check, Evidence, Power, Verdict, verdict

__all__ = [
    "PROBES",
    "Agreement",
    "Calibration",
    "Check",
    "Effect",
    "Evidence",
    "Kind",
    "Labelled",
    "Noise",
    "Order",
    "People",
    "Power",
    "Probe",
    "Resamples",
    "Retest",
    "Split",
    "Verdict",
    "agreement",
    "auc",
    "calibration",
    "calibration_on",
    "effects",
    "length_correlation",
    "noise",
    "order_effect",
    "order_of_pairs",
    "order_of_rankings",
    "own_family_gap",
    "people",
    "reliability",
    "retest",
    "verdict",
]
