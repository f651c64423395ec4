"""A store of records written by hand: no rows, only what links them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.store import Home, Record, RecordStore

POLITE_1 = {"protocol_version": 1, "judge": {"protocol": "binary", "question": "Is it polite?"}}
POLITE_2 = {"protocol_version": 1, "judge": {"protocol": "binary", "question": "Is the reply polite?"}}
POLITE_1_FP, POLITE_2_FP = fingerprint(POLITE_1), fingerprint(POLITE_2)


class Store:
    """Records of the current home, each made a minute after the one before."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root=root, data=root)
        self.records = RecordStore(self.home.store)
        self.minute = 0

    def put(
        self,
        key: str,
        content: str,
        upstream: Mapping[str, Record] | None = None,
        settings: dict[str, Any] | None = None,
        files: Mapping[str, pl.DataFrame] | None = None,
        inputs: Mapping[str, str] | None = None,
    ) -> Record:
        """Commit a record; its inputs are the contents of its upstream records, and `inputs`."""
        upstream = upstream or {}
        self.minute += 1
        taken = {role: record.content_hash for role, record in upstream.items() if role != "rubric"}
        payload = {
            "stage": key.rpartition("/")[2],
            "code_version": "1",
            "settings": settings or {},
            "inputs": {**taken, **(inputs or {})},
        }
        record = Record(
            key=key,
            fingerprint=fingerprint([payload, self.minute]),
            payload=payload,
            content_hash=content,
            upstream={role: each.address for role, each in upstream.items()},
            created=f"2026-01-01T00:{self.minute:02}:00+00:00",
        )
        with self.records.workdir(key) as workdir:
            for name, frame in (files or {}).items():
                frame.write_parquet(workdir / name)
            return self.records.commit(record, workdir)

    def round(
        self, campaign: str, number: int, policy: Record, polite: dict[str, Any], weight: float = 1.0, scores: str = ""
    ) -> dict[str, Record]:
        """One round's judge scores, reward batch and checkpoint from a policy; `scores` is the judge scores' content.

        What is put again with the same content stands for a stage that came out the same.
        """
        name = f"{campaign}/round_{number}"
        rollouts = self.records.current(f"{name}/rollouts") or self.put(
            f"{name}/rollouts",
            f"rollouts of {policy.content_hash}",
            {"policy": policy},
            {"sampling": {}, "system": None, "system_in": "own_turn", "thinking": "auto", "seed": 7},
        )
        scored = self.put(
            f"{name}/judge_scores",
            scores or f"scores {self.minute}",
            {"rollouts": rollouts},
            {"criteria": {"polite": polite}},
            inputs={"judge": "judge weights"},
        )
        batch = self.put(
            f"{name}/reward_batches",
            f"batch {self.minute}",
            {"rollouts": rollouts, "judge_scores": scored},
            {"weights": {"polite": weight}, "gates": {}},
        )
        checkpoint = self.put(
            f"{name}/checkpoints", f"weights {self.minute}", {"policy": policy, "reward_batches": batch}
        )
        return {"rollouts": rollouts, "judge_scores": scored, "reward_batches": batch, "checkpoints": checkpoint}
