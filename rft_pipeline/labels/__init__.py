"""Labels by people: which rollouts they are asked about, the files they get, and what they said.

`draw` chooses rollouts with known probabilities, `exports` keeps what was drawn, `files` writes it for people,
`importing` reads it back, `estimates` says how good the replies are by the judge, by people and by both.
"""
