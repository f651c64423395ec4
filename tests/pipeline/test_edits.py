"""Random edits of the tiny campaign, with kills in between: each costs what its row of the table says, and no more.

After each edit the state equals one computed from an empty store, and the model calls are counted where they are made.
A rollout follows from weights, messages, sampling and seed; a judgement from the criterion's text and protocol version,
the judge's weights and the texts shown. What the promise comes to: each of them is made once in the life of a store.
"""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from rft_pipeline.campaign import load_campaign
from rft_pipeline.judges import PROTOCOLS
from rft_pipeline.store import Record
from tests.pipeline.edits import ADDABLE_PROMPTS, NEW_TOKENS, SQUASHED_OTHERWISE, SYSTEM, TEXTS, Content, Criterion
from tests.pipeline.lab import Lab, assert_same_records
from tests.pipeline.watched import (
    CHUNK,
    Seen,
    completion_key,
    judgement_key,
    living_in,
    protocol_of,
    run,
    run_and_be_killed,
)

SAMPLING = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": NEW_TOKENS, "max_thinking_tokens": None}
ROLLOUTS, SCORES = "round_1/rollouts", "round_1/judge_scores"
AFTER_SCORES = {"round_1/reward_batches", "round_1/checkpoints", "round_1/eval_reports"}
FROM_SCORES = AFTER_SCORES | {SCORES}
FROM_ROLLOUTS = FROM_SCORES | {ROLLOUTS}
RULES = {"says_enough", "has_an_e"}
KILLS = st.one_of(st.none(), st.integers(min_value=1, max_value=60))
"""The point at which a first try is killed, if any; a try that ends before it has done everything."""


class Edits(RuleBasedStateMachine):
    """A campaign that is edited and run again, over and over, in one store."""

    def __init__(self, lab: Lab) -> None:
        super().__init__()
        self.lab = lab
        self.root = lab.folder()
        self.campaign = self.root / "data" / "tiny"
        self.content = Content()
        start = lab.computed(self.content)
        shutil.copytree(start.home, self.root / "home")
        self.paid = {key for keys in start.seen.asked.values() for key in keys}
        self.past = [self.content]

    # One rule a row of the table. What `edited` is told is the row's right side: the stages of round 1 that may be made
    # again, and the criteria that may be judged again there.

    @rule(which=st.integers(0, 3), kill=KILLS)
    def another_text_of_a_criterion(self, which: int, kill: int | None) -> None:
        old = self._criterion(which)
        self.edited(self._with(replace(old, text=int(old.text != 1))), kill, FROM_SCORES, {old.name})

    @precondition(lambda self: "has_an_e" in self.content.names and self.content.of("has_an_e").text != 1)
    @rule(kill=KILLS)
    def another_text_with_the_same_verdicts(self, kill: int | None) -> None:
        old = self.content.of("has_an_e")
        made = self.edited(self._with(replace(old, text=-1 - old.text)), kill, FROM_SCORES, {"has_an_e"})
        judging = {f"round_{n}/{stage}" for n in (1, 2) for stage in ("judge_scores", "eval_reports")}
        assert made <= {"rubric", *judging}

    @precondition(lambda self: "polite" in self.content.names and self.content.of("polite").text != 1)
    @rule(kill=KILLS)
    def another_squash(self, kill: int | None) -> None:
        old = self.content.of("polite")
        self.edited(self._with(replace(old, text=SQUASHED_OTHERWISE - old.text)), kill, FROM_SCORES, set())

    @rule(which=st.integers(0, 3), kill=KILLS)
    def another_weight(self, which: int, kill: int | None) -> None:
        old = self._criterion(which)
        self.edited(self._with(replace(old, weight=3.0 if old.weight == 1 else 1.0)), kill, AFTER_SCORES, set())

    @precondition(lambda self: self.content.names & RULES)
    @rule(which=st.integers(0, 1), kill=KILLS)
    def a_gate_set_or_lifted(self, which: int, kill: int | None) -> None:
        names = sorted(self.content.names & RULES)
        old = self.content.of(names[which % len(names)])
        self.edited(self._with(replace(old, gate=None if old.gate else 0.5)), kill, AFTER_SCORES, set())

    @rule(kill=KILLS)
    def another_reward_setting(self, kill: int | None) -> None:
        damping = 0.5 if self.content.damping == 0.1 else 0.1
        self.edited(replace(self.content, damping=damping), kill, AFTER_SCORES, set())

    @precondition(lambda self: len(self.content.names) < len(TEXTS))
    @rule(which=st.integers(0, 2), kill=KILLS)
    def a_criterion_added(self, which: int, kill: int | None) -> None:
        absent = sorted(set(TEXTS) - self.content.names)
        name = absent[which % len(absent)]
        criteria = (*self.content.criteria, Criterion(name))
        self.edited(replace(self.content, criteria=criteria), kill, FROM_SCORES, {name})

    @precondition(lambda self: len(self.content.names) > 1)
    @rule(which=st.integers(0, 2), kill=KILLS)
    def a_criterion_removed(self, which: int, kill: int | None) -> None:
        gone = self.content.criteria[1:][which % (len(self.content.criteria) - 1)]
        criteria = tuple(criterion for criterion in self.content.criteria if criterion != gone)
        self.edited(replace(self.content, criteria=criteria), kill, FROM_SCORES, set())

    @rule(kill=KILLS)
    def another_group_size(self, kill: int | None) -> None:
        size = 3 if self.content.group_size == 2 else 2
        self.edited(replace(self.content, group_size=size), kill, FROM_ROLLOUTS, self.content.names)

    @precondition(lambda self: len(self.content.prompts) < len(ADDABLE_PROMPTS))
    @rule(kill=KILLS)
    def a_prompt_added(self, kill: int | None) -> None:
        added = next(prompt for prompt in ADDABLE_PROMPTS if prompt not in self.content.prompts)
        prompts = (*self.content.prompts, added)
        self.edited(replace(self.content, prompts=prompts), kill, FROM_ROLLOUTS, self.content.names)

    @rule(which=st.integers(0, 2), kill=KILLS)
    def a_prompt_reworded(self, which: int, kill: int | None) -> None:
        prompts = list(self.content.prompts)
        place = which % len(prompts)
        please, then = "Please help", "Help me please"
        old = prompts[place]
        prompts[place] = old.replace(please, then) if please in old else old.replace(then, please)
        if prompts[place] not in self.content.prompts:
            edited = replace(self.content, prompts=tuple(prompts))
            self.edited(edited, kill, FROM_ROLLOUTS, self.content.names)

    @precondition(lambda self: len(self.content.prompts) > 2)
    @rule(which=st.integers(0, 3), kill=KILLS)
    def a_prompt_removed(self, which: int, kill: int | None) -> None:
        gone = self.content.prompts[which % len(self.content.prompts)]
        prompts = tuple(prompt for prompt in self.content.prompts if prompt != gone)
        self.edited(replace(self.content, prompts=prompts), kill, FROM_ROLLOUTS, set())

    @rule(kill=KILLS)
    def another_judge_model(self, kill: int | None) -> None:
        judge = "other_model" if self.content.judge == "tiny_model" else "tiny_model"
        self.edited(replace(self.content, judge=judge), kill, FROM_SCORES, self.content.names - RULES)

    @rule(which=st.integers(0, 3), kill=KILLS)
    def another_protocol_version(self, which: int, kill: int | None) -> None:
        protocol = self._criterion(which).judge["protocol"]
        versions = dict(self.content.versions)
        versions[protocol] = versions.get(protocol, PROTOCOLS[protocol].VERSION) + 1
        users = {name for name, used in self.content.protocols().items() if used == protocol}
        edited = replace(self.content, versions=tuple(sorted(versions.items())))
        self.edited(edited, kill, FROM_SCORES, users)

    @rule(kill=KILLS)
    def another_training_setting(self, kill: int | None) -> None:
        rate = 2e-3 if self.content.learning_rate == 1e-3 else 1e-3
        edited = replace(self.content, learning_rate=rate)
        self.edited(edited, kill, {"round_1/checkpoints", "round_1/eval_reports"}, set())

    @rule(spelling=st.sampled_from(["commented", "runtime"]))
    def another_spelling(self, spelling: str) -> None:
        assert not self.edited(replace(self.content, spelling=spelling), None, set(), set())

    @rule(which=st.integers(0, 20))
    def an_earlier_content(self, which: int) -> None:
        assert not self.edited(self.past[which % len(self.past)], None, set(), set())

    def _criterion(self, which: int) -> Criterion:
        return self.content.criteria[which % len(self.content.criteria)]

    def _with(self, changed: Criterion) -> Content:
        criteria = tuple(changed if old.name == changed.name else old for old in self.content.criteria)
        return replace(self.content, criteria=criteria)

    def edited(self, content: Content, kill: int | None, may_make: set[str], may_judge: set[str]) -> set[str]:
        """Write the content, run it, perhaps after a try that is killed, and check everything; the stages made."""
        content.write(self.campaign, self.lab.models)
        tries = []
        with living_in(self.root / "home", self.root / "data"):
            if kill is not None:
                tries.append(self.lab.folder())
                self.lab.killed += run_and_be_killed(self.campaign, dict(content.versions), tries[-1], kill)
            tries.append(self.lab.folder())
            records, refusal = run(self.campaign, dict(content.versions), tries[-1])
        seen = [Seen.read(path) for path in tries]
        expected = self.lab.computed(content)

        assert refusal == expected.refusal
        assert_same_records(records, expected.records)
        self._check_calls(seen, expected.seen)
        self._check_round_1(content, seen, records, may_judge)
        made = {stage for each in seen for stage in each.made}
        assert {stage for stage in made if stage.startswith("round_1/")} <= may_make

        self.paid |= {key for keys in expected.seen.asked.values() for key in keys}
        self.content = replace(content, spelling="plain")
        self.past.append(self.content)
        return made

    def _check_calls(self, seen: list[Seen], expected: Seen) -> None:
        """Each stage asks for what a computation from nothing asks for, less what was ever paid for in this store; a
        killed try adds at most the batch it was about to store."""
        for stage in {*expected.asked, *(stage for each in seen for stage in each.asked)}:
            needed = Counter(key for key in expected.asked.get(stage, ()) if key not in self.paid)
            assert Counter(key for each in seen for key in each.kept.get(stage, ())) == needed
        for killed in seen[:-1]:
            lost = Counter(key for keys in killed.asked.values() for key in keys)
            lost -= Counter(key for keys in killed.kept.values() for key in keys)
            assert lost.total() <= (1 if all(protocol_of(key) is None for key in lost) else CHUNK)
        assert seen[-1].asked == seen[-1].kept
        by_model = [
            key
            for each in seen
            for keys in each.asked.values()
            for key in keys
            if protocol_of(key) not in (None, "rule") and json.loads(key)[-1].strip()
        ]
        assert sum(each.scored for each in seen) == 2 * len(by_model)  # two personas, or with the prompt and without
        if not any(each.asked for each in seen):
            assert not any(each.loaded for each in seen)

    def _check_round_1(
        self, content: Content, seen: list[Seen], records: dict[str, Record], may_judge: set[str]
    ) -> None:
        """The numbers of the first round from the campaign and the texts alone: P·G rollouts, and of each of their
        distinct texts one judgement a criterion."""
        weights = self.lab.weights
        rollouts = {
            completion_key(weights["tiny_model"], [("system", SYSTEM), ("user", prompt)], SAMPLING, seed)
            for prompt, seed in content.seeds()
        }
        assert len(rollouts) == len(content.prompts) * content.group_size
        assert _asked(seen, ROLLOUTS) == rollouts - self.paid

        rows = pl.read_parquet(records[ROLLOUTS].path("rollouts.parquet"))
        judgements: dict[str, set[str]] = {}
        for criterion in load_campaign(self.campaign).rubric.criteria:
            judge = criterion.judge.model_dump(mode="json")
            is_rule = judge["protocol"] == "rule"
            version = dict(content.versions).get(judge["protocol"], PROTOCOLS[judge["protocol"]].VERSION)
            model = "rule" if is_rule else weights[content.judge]
            judgements[criterion.name] = {
                judgement_key(judge, version, model, shown if is_rule else shown[:2])
                for shown in (_shown(row) for row in rows.iter_rows(named=True))
            }
        assert _asked(seen, SCORES) == set().union(*judgements.values()) - self.paid
        again = {name for name, keys in judgements.items() if keys & _asked(seen, SCORES)}
        assert again <= may_judge


def _asked(seen: list[Seen], stage: str) -> set[str]:
    return {key for each in seen for key in each.asked.get(stage, ())}


def _shown(row: dict[str, Any]) -> list[str]:
    return [json.loads(row["messages"])[-1]["content"], row["completion"], row["finish_reason"]]


@pytest.fixture(scope="module")
def lab(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("edits"), tiny_model)


def test_any_edits_with_kills_in_between_cost_what_the_table_says_and_end_as_from_an_empty_store(lab: Lab) -> None:
    run_state_machine_as_test(
        lambda: Edits(lab),
        settings=settings(
            max_examples=3,
            stateful_step_count=6,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],  # shrinking would run the campaign hundreds of times
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert lab.killed > 0
