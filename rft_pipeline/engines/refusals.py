"""Features of a request that a server may refuse, how refusals are recognised, and the request without them.

The wording of refusals differs, so it is enough that a 400 or 422 names the feature. The feature is left out
permanently only after the server has answered without it, since the refusal may have had another cause.
"""

import re
from collections.abc import Mapping, Set
from typing import Any

from openai import APIError, APIStatusError

Body = dict[str, Any]

BUDGET, NEW_BUDGET = "max_tokens", "max_completion_tokens"
FEWER = "top_logprobs"
"""Refused if the server returns fewer likely tokens than requested."""
_FEWER = 5
_OPTIONAL = {
    "response_format": r"response[_ ]?format|json[_ ]?schema|json[_ ]mode|structured[_ ]output|guided|grammar",
    "logprobs": r"log[_ ]?prob",
    "seed": r"\bseed\b",
    "temperature": r"\btemperature\b",
}
"""Optional features and the patterns of their refusals, most likely first."""
_KEYS = {"logprobs": ("logprobs", "top_logprobs")}
OPTIONAL = frozenset(_OPTIONAL)
_UNKNOWN = re.compile(r"unsupported|not (?:supported|permitted|allowed)|unrecogni[sz]ed|unknown|unexpected|extra input")
_BOUND = re.compile(r"at most|less than|greater than|\bmax|between|exceed|range|<=|≤")


def leaving_out(body: Body, without: Set[str]) -> Body:
    """The body without these features."""
    dropped = {key for name in without & OPTIONAL for key in _KEYS.get(name, (name,))}
    kept = {key: value for key, value in body.items() if key not in dropped}
    if BUDGET in without:
        kept[NEW_BUDGET] = kept.pop(BUDGET)
    if FEWER in without and FEWER in kept:
        kept[FEWER] = _FEWER
    return kept


def refused(error: APIError, sent: Mapping[str, Any], optional: Set[str], *, guess: bool) -> set[str]:
    """The features that the error names and that can be left out or replaced; empty for any other error.

    If the error names none, it is the schema, or with `guess` the first optional feature in the body.
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
