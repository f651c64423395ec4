"""How a server's answer ended, and what happens then, for judges and rollouts.

| ending | a judge | a rollout |
|---|---|---|
| done | the answer is read | stored as `stop` |
| cut | read if it is unambiguous, else unscored | stored as `length` |
| blocked | unscored: the same question would be blocked again | fails at once, not stored |
| broken | retried, then failed, not stored | retried, then failed, not stored |

An answer is also broken if its body or choice has an `error`, if it has no choice or message, or if the body cannot be
read. A missing finish reason is `done`: many servers leave it out.
"""

import re
from enum import Enum


class Ending(Enum):
    DONE = "done"
    CUT = "cut"
    BLOCKED = "blocked"
    BROKEN = "broken"


_REASONS = {
    Ending.DONE: "stop eos eos_token end_turn stop_sequence complete completed tool_calls tool_use function_call",
    Ending.CUT: "length max_tokens max_output_tokens max_completion_tokens model_length",
    Ending.BLOCKED: "content_filter content_filtered safety recitation blocklist prohibited_content sensitive refusal",
}
"""All other reasons are broken, e.g. error, abort, cancelled, timeout and insufficient_system_resource."""
_BY_REASON = {reason: ending for ending, reasons in _REASONS.items() for reason in reasons.split()}


def ending_of(finish_reason: str | None) -> Ending:
    """The ending of a finish reason; an unknown reason is broken."""
    word = re.match(r"\W*(\w*)", finish_reason or "")  # some servers add their own: "content_filter: RECITATION"
    assert word is not None
    return _BY_REASON.get(word[1].casefold(), Ending.BROKEN) if word[1] else Ending.DONE


def is_blocked(code: object) -> bool:
    """Whether the code of an HTTP error says that a filter blocked the question."""
    return isinstance(code, str) and ending_of(code or "error") is Ending.BLOCKED
