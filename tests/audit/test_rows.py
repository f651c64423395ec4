import json

import polars as pl

from rft_pipeline.audit.rows import audit_rows, with_gates
from rft_pipeline.campaign.rubric import Criterion


def test_a_rules_gate_stops_an_echo_and_only_replies_without_content_are_tried() -> None:
    short = Criterion.model_validate(
        {
            "name": "short",
            "gate": 0.5,
            "judge": {"protocol": "rule", "rule": {"name": "length", "min_words": 0, "max_words": 4}},
        }
    )
    messages = json.dumps([{"role": "user", "content": "Where is the lamp that I bought on Sunday?"}])
    anchor = {"id": "a", "prompt_id": "p", "messages": messages, "completion": "On its way.", "finish_reason": "stop"}
    anchors = pl.DataFrame([{**anchor, "fields": "{}", "labels": {"short": 1}, "source": "x", "by": None}])
    rows = with_gates(audit_rows(anchors, 1, 0), [short])
    gated = dict(rows.select("probe", "gated").iter_rows())
    assert {name: gated[name] for name in ("", "empty", "colon", "echo", "order")} == {
        "": False,
        "empty": False,
        "colon": False,
        "echo": True,
        "order": None,
    }
