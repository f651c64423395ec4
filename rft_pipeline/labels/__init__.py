"""Labels: rollouts drawn for people, the files they fill in, and what they said.

`draw` chooses rollouts with known probabilities, `exports` stores the draw, `files` writes it for people, `importing`
reads their labels, `estimates` compares judge and people.
"""
