"""What a server may refuse of a request, how it says so, and how it is asked instead.

Servers word a refusal each in their own way, so it is enough that a 400 or 422 names the feature. The feature is left
out for good only once the server has answered without it: until then the refusal may have meant something else.
"""

import re
from collections.abc import Mapping, Set
from typing import Any

from openai import APIError, APIStatusError

Body = dict[str, Any]

BUDGET, NEW_BUDGET = "max_tokens", "max_completion_tokens"
FEWER = "top_logprobs"
"""Refused when fewer likely tokens are given than were asked for."""
_FEWER = 5
_OPTIONAL = {
    "response_format": r"response[_ ]?format|json[_ ]?schema|json[_ ]mode|structured[_ ]output|guided|grammar",
    "logprobs": r"log[_ ]?prob",
    "seed": r"\bseed\b",
    "temperature": r"\btemperature\b",
}
"""What an answer can do without, by the words in which it is refused; the likeliest to be refused first."""
_KEYS = {"logprobs": ("logprobs", "top_logprobs")}
OPTIONAL = frozenset(_OPTIONAL)
_UNKNOWN = re.compile(r"unsupported|not (?:supported|permitted|allowed)|unrecogni[sz]ed|unknown|unexpected|extra input")
_BOUND = re.compile(r"at most|less than|greater than|\bmax|between|exceed|range|<=|≤")


def leaving_out(body: Body, without: Set[str]) -> Body:
    """The body as the server wants it."""
    dropped = {key for name in without & OPTIONAL for key in _KEYS.get(name, (name,))}
    kept = {key: value for key, value in body.items() if key not in dropped}
    if BUDGET in without:
        kept[NEW_BUDGET] = kept.pop(BUDGET)
    if FEWER in without and FEWER in kept:
        kept[FEWER] = _FEWER
    return kept


def refused(error: APIError, sent: Mapping[str, Any], optional: Set[str], *, guess: bool) -> set[str]:
    """What the server's words blame that can be left out or asked for in another way; nothing for any other error.

    Where nothing is named a schema is blamed, and with `guess` one after the other of what is sent.
    """
    if not isinstance(error, APIStatusError) or error.status_code not in (400, 422):
        return set()
    said = error.response.text.casefold()
    if BUDGET in sent and (NEW_BUDGET in said or (BUDGET in said and _UNKNOWN.search(said))):
        return {BUDGET}
    there = [name for name in _OPTIONAL if name in optional and name in sent]
    named = {name for name in there if re.search(_OPTIONAL[name], said)}
    if "logprobs" in named and sent.get(FEWER, 0) > _FEWER and _BOUND.search(said):
        return {FEWER}
    return named or set(there[:1] if guess else {"response_format"} & set(there))
