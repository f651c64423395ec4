"""Audit: does a criterion's judge agree with people, and with what weight may it train?

`agreement` compares scores with people's labels, `bias` measures what edits of a reply (`PROBES`) do to scores,
`calibration` compares scores with shares of good labels; `verdict` combines the three. Nothing here calls a judge:
scores are arrays, with NaN for unscored.
"""
