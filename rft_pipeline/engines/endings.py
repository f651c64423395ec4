"""How a server's answer ended, and what follows from that: one table for judges and rollouts alike.

| ending | a judge | a rollout |
|---|---|---|
| done | the answer is read | kept as `stop` |
| cut | read where that is certain, else unscored | kept as `length` |
| blocked | unscored: the same question would be blocked again | fails at once, is not kept |
| broken | tried again, then failed, not kept | tried again, then failed, not kept |

Broken is also an answer with an `error` in its body or choice, one without a choice or message, and a body that cannot
be read, whatever the finish reason. A missing finish reason is `done`: many servers leave it out.
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
"""All others are broken, among them error, abort, cancelled, timeout and insufficient_system_resource."""
_BY_REASON = {reason: ending for ending, reasons in _REASONS.items() for reason in reasons.split()}


def ending_of(finish_reason: str | None) -> Ending:
    """What a finish reason means; an unknown one may mean anything, and so is broken."""
    word = re.match(r"\W*(\w*)", finish_reason or "")  # some servers add their own: "content_filter: RECITATION"
    assert word is not None
    return _BY_REASON.get(word[1].casefold(), Ending.BROKEN) if word[1] else Ending.DONE


def is_blocked(code: object) -> bool:
    """Whether the code of an HTTP error says that a filter stopped the question itself."""
    return isinstance(code, str) and ending_of(code or "error") is Ending.BLOCKED
