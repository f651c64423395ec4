"""Divides the rows of an optimiser step into forward passes, and makes their tensors.

Axes: B sequences of a pass, S positions, N reply tokens.
A sequence is a prompt with one reply, or *packed*: a prompt with several replies of the same group. Each packed reply
attends to the prompt and to itself, at the positions that it would have alone, so the prompt is computed once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from rft_pipeline.trainers.rows import TrainingRow
from rft_pipeline.trainers.shared_prompt import Span


@dataclass(frozen=True)
class PassLayout:
    """How rows are divided into passes."""

    micro_batch_size: int
    """Maximum number of rows in a padded pass. A packed pass has no more tokens, and projects no more tokens onto the
    vocabulary for each token that it saves, than a padded pass of so many of the step's longest rows."""
    packs: bool
    longest_packed: int | None = None
    """Maximum number of tokens of a row that can be packed (the sliding window of the model); None: no limit."""


@dataclass(frozen=True)
class Pass:
    """The tensors of one forward pass."""

    rows: list[int]
    """The rows' indices; N is their reply tokens in this order."""
    inputs: dict[str, torch.Tensor]
    sequence_N: torch.Tensor
    position_N: torch.Tensor
    """The sequence and the position whose hidden state predicts each token."""
    tokens_N: torch.Tensor
    counts: list[int]
    """Reply tokens per row."""
    spans: list[Span] | None = None
    """The sequences of a packed pass."""
    idle: bool = False
    """Whether it only keeps a process in step with the others, without weight."""

    def per_token(self, values: Sequence[float]) -> torch.Tensor:
        """A value per row, repeated for each of its tokens, as a tensor N."""
        counts = torch.tensor(self.counts, device=self.tokens_N.device)
        return torch.tensor(values, dtype=torch.float32, device=self.tokens_N.device).repeat_interleave(counts)

    def after(self, starts: Sequence[int]) -> torch.Tensor:
        """1 for each token from its row's start on, 0 for those before, as a tensor N."""
        at = [i >= start for start, count in zip(starts, self.counts, strict=True) for i in range(count)]
        return torch.tensor(at, dtype=torch.float32, device=self.tokens_N.device)

    def outside(self, positions: Sequence[Sequence[int]]) -> torch.Tensor:
        """0 for the tokens at these positions of each row, 1 for the others, as a tensor N."""
        at = [i not in own for own, count in zip(map(set, positions), self.counts, strict=True) for i in range(count)]
        return torch.tensor(at, dtype=torch.float32, device=self.tokens_N.device)

    def sums(self, values_N: torch.Tensor) -> torch.Tensor:
        """The sum of a value over the tokens of each row."""
        row_N = torch.arange(len(self.rows), device=values_N.device).repeat_interleave(
            torch.tensor(self.counts, device=values_N.device)
        )
        return values_N.new_zeros(len(self.rows)).index_add(0, row_N, values_N)


@dataclass(frozen=True)
class PassPlan:
    """The sequences of one pass, as indices of rows."""

    sequences: list[list[int]]
    packed: bool
    idle: bool = False


def plan_passes(
    rows: Sequence[TrainingRow], chosen: Sequence[int], layout: PassLayout, processes: int = 1
) -> list[list[PassPlan]]:
    """The passes of each process over the chosen rows; all processes have the same number of passes."""
    packable = [i for i in chosen if layout.packs and rows[i].length <= (layout.longest_packed or math.inf)]
    alone = [i for i in chosen if i not in set(packable)]
    micro = min(layout.micro_batch_size, math.ceil(len(chosen) / processes))
    plans: list[list[PassPlan]] = [[] for _ in range(processes)]
    for part, packed in ((packable, True), (alone, False)):
        if not part:
            continue
        room = _Room(rows, part, micro, packed)
        most = math.ceil(len(part) / processes)
        sequences = _grouped(rows, part, room, most) if packed else [[i] for i in part]
        sequences.sort(key=lambda sequence: _length(rows, sequence))
        for process in range(processes):
            plans[process] += [PassPlan(each, packed) for each in _filled(sequences[process::processes], room)]
    longest = max(plans, key=len)
    return [mine + [replace(each, idle=True) for each in longest[len(mine) :]] for mine in plans]


class _Room:
    """The bound of a pass.

    The memory of a padded pass of m rows is at most m·(L·a + R·v), for L tokens of the longest row, R of the longest
    reply, a bytes of activations per token and v bytes of logits per projected token. With a ≥ v, a packed pass stays
    below it if S·B ≤ m·L and S·B + N ≤ m·(L + R).
    """

    def __init__(self, rows: Sequence[TrainingRow], chosen: Sequence[int], micro: int, packed: bool) -> None:
        longest, reply = max(rows[i].length for i in chosen), max(len(rows[i].tokens) for i in chosen)
        self.rows, self.micro, self.packed = rows, micro, packed
        self.tokens, self.both = micro * longest, micro * (longest + reply)

    def holds(self, sequences: list[list[int]]) -> bool:
        if not self.packed:
            return len(sequences) <= self.micro
        tokens = len(sequences) * max(_length(self.rows, sequence) for sequence in sequences)
        projected = sum(len(self.rows[i].tokens) for sequence in sequences for i in sequence)
        return tokens <= self.tokens and tokens + projected <= self.both


def _length(rows: Sequence[TrainingRow], sequence: list[int]) -> int:
    return len(rows[sequence[0]].prompt_tokens) + sum(len(rows[i].tokens) for i in sequence)


def _grouped(rows: Sequence[TrainingRow], chosen: Sequence[int], room: _Room, most: int) -> list[list[int]]:
    """Rows with the same prompt together, up to `most` in a sequence."""
    sequences: list[list[int]] = []
    open_: dict[tuple[int, ...], list[int]] = {}
    for i in chosen:
        sequence = open_.get(tuple(rows[i].prompt_tokens))
        if sequence is None or len(sequence) == most or not room.holds([[*sequence, i]]):
            sequence = open_[tuple(rows[i].prompt_tokens)] = []
            sequences.append(sequence)
        sequence.append(i)
    return sequences


def _filled(sequences: list[list[int]], room: _Room) -> list[list[list[int]]]:
    """Sequences, shortest first, in as few passes as there is room."""
    passes: list[list[list[int]]] = []
    for sequence in sequences:
        if passes and room.holds([*passes[-1], sequence]):
            passes[-1].append(sequence)
        else:
            passes.append([sequence])
    return passes


def collate(rows: Sequence[TrainingRow], plan: PassPlan, device: torch.device, mask_dtype: torch.dtype) -> Pass:
    """The tensors of a pass. Padding is on the right, where no other token attends to it."""
    length = max(_length(rows, sequence) for sequence in plan.sequences)
    ids, positions, replies, predicted, spans = [], [], [], [], []
    for b, sequence in enumerate(plan.sequences):
        prompt = rows[sequence[0]].prompt_tokens
        tokens, place, reply = list(prompt), list(range(len(prompt))), [0] * len(prompt)
        for number, i in enumerate(sequence, start=1):
            at, count = len(tokens), len(rows[i].tokens)
            predicted += [(b, t) for t in [len(prompt) - 1, *range(at, at + count - 1)][:count]]
            tokens += rows[i].tokens
            place += range(len(prompt), len(prompt) + count)
            reply += [number] * count
        padding = length - len(tokens)
        ids.append(tokens + [0] * padding)
        positions.append(place + [0] * padding)
        replies.append(reply + [-1] * padding)
        spans.append(Span(len(prompt), tuple(len(rows[i].tokens) for i in sequence)))
    ids_BS, reply_BS = torch.tensor(ids), torch.tensor(replies)
    inputs = {"input_ids": ids_BS, "attention_mask": (reply_BS >= 0).long()}
    if plan.packed:
        inputs |= {"attention_mask": _packed_mask(reply_BS, mask_dtype), "position_ids": torch.tensor(positions)}
    order = [i for sequence in plan.sequences for i in sequence]
    sequence_N, position_N = torch.tensor(predicted, dtype=torch.long).reshape(-1, 2).unbind(1)
    return Pass(
        rows=order,
        inputs={name: value.to(device) for name, value in inputs.items()},
        sequence_N=sequence_N.to(device),
        position_N=position_N.to(device),
        tokens_N=torch.tensor([token for i in order for token in rows[i].tokens], dtype=torch.long, device=device),
        counts=[len(rows[i].tokens) for i in order],
        spans=spans if plan.packed else None,
        idle=plan.idle,
    )


def _packed_mask(reply_BS: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The mask B × 1 × S × S that is added to attention scores: 0 where a query may attend, else the smallest number.

    `reply_BS` is 0 in the prompt, 1, 2, … in the replies and −1 in padding, which attends only to itself.
    """
    query, key = reply_BS[:, :, None], reply_BS[:, None, :]
    before = torch.ones(reply_BS.shape[1], reply_BS.shape[1], dtype=torch.bool).tril()
    allowed = before & ((key == 0) | (key == query)) & (key >= 0) & (query >= 0)
    allowed |= torch.eye(reply_BS.shape[1], dtype=torch.bool)
    mask = torch.zeros(allowed.shape, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)
    return mask[:, None]
