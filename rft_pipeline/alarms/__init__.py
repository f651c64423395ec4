"""Alarms: is a round's gain real, or does the policy exploit the judge, and did the judge change?

Works on tables of replies and scores; nothing here calls a judge. `assess` combines the alarms of one round: `gains`
compares the reward with the score of the alarms' judge, `features` finds what raises the reward alone (length, markup,
`phrases`), `diversity` detects collapse to similar replies, `copying` detects a fixed phrase and replies that copy
their prompts, and `drift` compares the judges' scores of the anchors over time.
"""
