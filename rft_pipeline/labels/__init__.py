"""Labels: rollouts drawn for people, the files they fill in, and what they said.

`draw` chooses rollouts with known probabilities, `exports` stores the draw, `files` writes it for people, `importing`
reads their labels, `estimates` compares judge and people. Blind pairs of two policies' replies: `pairs` draws them,
`pair_files` and `pair_importing` write and read the file, `preferences` counts wins, ties and losses. Both kinds can be
labelled in MLflow instead: `page` says what is shown, `queues` creates the pages, `queue_answers` reads them.
"""
