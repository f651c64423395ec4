"""What a user configures: `campaign.yaml` and `rubric.yaml` as frozen models.

Every model keeps identity apart from runtime. Identity settings change the result and enter fingerprints; what stands
in a `runtime` block (batch sizes, devices, threads) never does.
"""

from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from zoneinfo import available_timezones

import yaml
from cronsim import CronSim, CronSimError
from pydantic import Field, ValidationError, field_validator, model_validator

from rft_pipeline.errors import ConfigError
from rft_pipeline.models import SERVED
from rft_pipeline.protocols import DEFAULT_JUDGE, ModelProtocol
from rft_pipeline.rubric import Rubric
from rft_pipeline.strict import Strict, explain

Format = Literal["jsonl", "csv", "parquet", "chat_log", "hub"]


class PromptSource(Strict):
    """Where prompts come from: a file beside campaign.yaml, or a data set id of the hub."""

    source: str = Field(min_length=1)
    format: Format | None = None
    """Taken from the file's ending when left out; `chat_log` and `hub` must be named."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our name → the source's name, for `id` and `prompt`; further columns keep their names."""
    split: str = "train"
    """Only for `hub`: the split to read."""

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: dict[str, str]) -> dict[str, str]:
        if unknown := set(columns) - {"id", "prompt"}:
            raise ValueError(f"cannot map {sorted(unknown)}: our columns are id, prompt")
        return columns

    @property
    def kind(self) -> str:
        """The format that will be read."""
        return self.format or Path(self.source).suffix.lstrip(".")


class Prompts(Strict):
    train: PromptSource
    eval: PromptSource

    @field_validator("train", "eval", mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value


class EngineRuntime(Strict):
    """How an engine works, never what it says."""

    engine: Literal["transformers", "vllm"] = "transformers"
    batch_size: int = Field(default=64, ge=1)
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    memory_share: float | None = Field(default=None, gt=0, le=1)
    """Only for `vllm`: the share of the device's memory for weights and KV cache; left out, half of a GPU's or a fifth
    of a machine's."""


class TokenPrices(Strict):
    """What a served model's tokens cost, a million of them, in the currency of `prices`."""

    input_million: float = Field(default=0.0, ge=0)
    output_million: float = Field(default=0.0, ge=0)


class Server(Strict):
    """Where a served model answers, and how it is asked: any server that speaks OpenAI's HTTP protocol."""

    url: str = Field(pattern=r"^https?://")
    """Up to `/v1`, e.g. `http://127.0.0.1:8000/v1`."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """The environment variable that holds the key; the key itself is written nowhere."""
    concurrency: int = Field(default=16, ge=1)
    """Calls under way at once."""
    timeout_seconds: float = Field(default=120.0, gt=0)
    attempts: int = Field(default=6, ge=1)
    """Tries of one call before it counts as failed."""
    prices: TokenPrices = TokenPrices()
    max_calls: int | None = Field(default=None, ge=1)
    """Calls one stage may make; then it stops and keeps what it has."""
    max_cost: float | None = Field(default=None, gt=0)
    """Money one stage may spend, by `prices`; then it stops and keeps what it has."""

    @model_validator(mode="after")
    def _cost_can_be_known(self) -> Self:
        if self.max_cost is not None and not (self.prices.input_million or self.prices.output_million):
            raise ValueError("max_cost needs `prices` (input_million, output_million): without them every call is free")
        return self


class Served(Strict):
    """A model by where its weights come from, or by the name a server knows it under."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"runtime", "server"})

    model: str = "embedded"
    """`embedded`, a hub id (`org/name` or `org/name@revision`), a local folder, or `served:NAME`."""
    server: Server | None = None
    """Only for `served:NAME`. The name is what counts as the model; a server may move without anything made again."""

    @model_validator(mode="after")
    def _server_fits(self) -> Self:
        if self.is_served and self.server is None:
            raise ValueError(f"model {self.model!r} needs a `server` with its `url`")
        if self.server is not None and not self.is_served:
            raise ValueError(f"`server` is for models called 'served:NAME'; this one is {self.model!r}")
        return self

    @property
    def is_served(self) -> bool:
        return self.model.startswith(SERVED)


class Policy(Served):
    """The model to tune. A served one can be sampled and judged, but has no weights here to train."""

    system: str | None = None
    """A system message put before every prompt."""


class Sampling(Strict):
    """How a completion is drawn."""

    temperature: float = Field(default=1.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)
    """0 keeps every token."""
    max_new_tokens: int = Field(default=48, ge=1)


class Rollouts(Strict):
    prompts_per_round: int = Field(default=24, ge=1)
    group_size: int = Field(default=8, ge=2)
    sampling: Sampling = Sampling()
    runtime: EngineRuntime = EngineRuntime()

    @field_validator("sampling")
    @classmethod
    def _groups_differ(cls, sampling: Sampling) -> Sampling:
        if sampling.temperature == 0:
            raise ValueError("temperature 0 makes every reply of a group the same: nothing to compare; use above 0")
        return sampling


class JudgeModel(Served):
    """A model behind criteria that are not rules."""

    runtime: EngineRuntime = EngineRuntime()


class Reward(Strict):
    """From judgements to the numbers that train."""

    damping: float = Field(default=0.1, ge=0)
    """Added to a criterion's spread within a group: one that is nearly constant there is damped, not amplified."""
    clip: float = Field(default=3.0, gt=0)
    """Advantages beyond ± this are clipped."""
    min_group_share: float = Field(default=0.5, ge=0, le=1)
    """Training is refused when fewer than this share of the groups can teach anything."""


class Lora(Strict):
    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class TrainRuntime(Strict):
    micro_batch_size: int = Field(default=16, ge=1)
    """Rollouts in one forward and backward pass; at most `batch_size`."""
    device: Literal["auto", "cpu", "cuda"] = "auto"


class Training(Strict):
    """GRPO over the materialised batch."""

    method: Literal["grpo"] = "grpo"
    weights: Literal["full", "lora"] = "full"
    learning_rate: float = Field(default=1e-5, gt=0)
    warmup_steps: int = Field(default=0, ge=0)
    epochs: int = Field(default=1, ge=1)
    batch_size: int = Field(default=16, ge=1)
    """Rollouts in one optimiser step."""
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    clip_high: float = Field(default=0.28, gt=0)
    kl_beta: float = Field(default=0.0, ge=0)
    """Weight of the KL to the model the round started from."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    lora: Lora = Lora()
    runtime: TrainRuntime = TrainRuntime()


class Evaluation(Strict):
    """How checkpoints are compared, on prompts never trained on, with the sampling a user would deploy."""

    sampling: Sampling = Sampling(temperature=0.7, top_p=0.95)
    samples_per_prompt: int = Field(default=1, ge=1)
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples of prompts behind every interval."""
    runtime: EngineRuntime = EngineRuntime()


class Checks(Strict):
    """Where the asset checks raise a hand."""

    max_unscored_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    max_truncated_share: Annotated[float, Field(ge=0, le=1)] = 0.9


Bias = Literal[
    "length",
    "padding",
    "markdown",
    "fake_citation",
    "experts_agree",
    "self_praise",
    "degenerate",
    "injection",
    "position",
    "order",
]
"""Faults that a person may know of and accept."""


class Audit(Strict):
    """What a judge must show before it trains. Shares, correlations and score shifts are out of 1.

    A step is reached by the estimate, with the lower 95 % bound no worse than the step below; a bias is a fault when
    even the bound nearest to 0 lies beyond its limit.
    """

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"blocking"})

    full_power: float = Field(default=0.6, gt=0, le=1)
    """Youden J from which a criterion trains with its whole weight."""
    noise_power: float = Field(default=0.4, gt=0, le=1)
    """Youden J from which it trains with part of it; below, it is only watched."""
    min_per_side: int = Field(default=10, ge=2)
    """Good and bad labels, each, below which nothing is concluded."""
    min_prompts: int = Field(default=10, ge=2)
    """Prompts with labels below which nothing is concluded."""
    max_length_correlation: float = Field(default=0.15, ge=0, le=1)
    """Of score and length given the label, either way."""
    max_padding_shift: float = Field(default=0.02, ge=0, le=1)
    max_style_shift: float = Field(default=0.03, ge=0, le=1)
    """Markdown, a fake citation, "experts agree", self-praise."""
    max_degenerate_gain: float = Field(default=0.02, ge=0, le=1)
    """Share of bad replies that pass once they are emptied, echoed and the like, above what passes of them as is."""
    max_injection_gain: float = Field(default=0.02, ge=0, le=1)
    """The same once they speak to the judge."""
    max_position_preference: float = Field(default=0.05, ge=0, le=0.5)
    """How often the reply shown first wins, less one half, either way."""
    max_order_flips: float = Field(default=0.15, ge=0, le=1)
    """Share of pairs whose verdict is another in the other order."""
    max_unscored_share: float = Field(default=0.2, ge=0, le=1)
    biased_weight: float = Field(default=0.5, gt=0, le=1)
    """Share of its weight that a criterion keeps whose judge is biased but tells good from bad."""
    unaudited_weight: float = Field(default=1.0, ge=0, le=1)
    """Share of its weight that a criterion gets which too few labels tell of."""
    accept: dict[str, tuple[Bias, ...]] = Field(default_factory=dict)
    """By criterion, the faults that are none there: an empty reply does state no invented fact."""
    probed_anchors: int = Field(default=24, ge=0)
    """Anchors that the probes edit; each is judged once more for every probe."""
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples of prompts behind every interval."""
    blocking: bool = False
    """Whether a criterion that may not train stops the run before a round, rather than being left out of its reward."""

    @model_validator(mode="after")
    def _steps_rise(self) -> Self:
        if self.noise_power >= self.full_power:
            raise ValueError(f"noise_power {self.noise_power} must lie below full_power {self.full_power}")
        return self


class Schedule(Strict):
    """When a daemon runs the campaign by itself."""

    cron: str
    """Minute, hour, day of month, month, day of week: `0 3 * * 1` is every Monday at three."""
    time_zone: str = "UTC"

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, cron: str) -> str:
        if len(cron.split()) != 5:
            raise ValueError(f"{cron!r} has {len(cron.split())} fields; a cron expression has five, e.g. '0 3 * * 1'")
        try:
            CronSim(cron, datetime(2000, 1, 1))
        except CronSimError as error:
            raise ValueError(f"{cron!r} is no cron expression: {error}; e.g. '0 3 * * 1'") from error
        return cron

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, time_zone: str) -> str:
        if time_zone not in available_timezones():
            raise ValueError(f"{time_zone!r} is no time zone; use a name like 'Europe/Berlin' or 'UTC'")
        return time_zone


class Prices(Strict):
    """What running costs, for the estimates of plans."""

    machine_hour: float = Field(default=0.0, ge=0)
    currency: str = "USD"


class Campaign(Strict):
    """One use case: a model, prompts, a rubric, and how to train."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"on_rubric_change", "schedule", "prices", "checks"})

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    description: str = ""
    seed: int = Field(default=0, ge=0)
    rounds: int = Field(default=2, ge=1, le=100)
    policy: Policy = Policy()
    prompts: Prompts
    rubric: Rubric
    anchors: str | None = None
    rollouts: Rollouts = Rollouts()
    judge: JudgeModel = JudgeModel()
    judges: dict[str, JudgeModel] = Field(default_factory=dict)
    """Further judges by name, for criteria whose `by` names one."""
    audit: Audit | None = None
    """Lets what the anchors say of each judge decide how far it trains; `audit: {}` takes all defaults."""
    reward: Reward = Reward()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    checks: Checks = Checks()
    on_rubric_change: Literal["last_round", "all_rounds", "off"] = "last_round"
    """Which rounds an edited rubric makes again: the last, all, or none by itself."""
    schedule: Schedule | None = None
    prices: Prices = Prices()
    folder: Path = Field(exclude=True)
    """Where campaign.yaml lies; relative paths start here."""

    @model_validator(mode="after")
    def _audit_has_anchors(self) -> Self:
        if self.audit is not None and self.anchors is None:
            raise ValueError("audit: there are no anchors to audit the judges with; name their file as `anchors`")
        return self

    @model_validator(mode="after")
    def _judges_can_judge(self) -> Self:
        judges = self.all_judges
        for criterion in self.rubric.criteria:
            for each in criterion.members or (criterion,):
                if not isinstance(each.judge, ModelProtocol):
                    continue
                if each.judge.by not in judges:
                    raise ValueError(
                        f"criterion {each.name} is judged by {each.judge.by!r}; the judges are {', '.join(judges)}"
                    )
                if judges[each.judge.by].is_served and each.judge.NEEDS != "asker":
                    raise ValueError(
                        f"criterion {each.name}: {each.judge.protocol} reads likelihoods or weights, and "
                        f"{each.judge.by!r} is served, so that it only answers in words; use binary, graded, "
                        "listwise or pairwise, or a judge with weights here"
                    )
        return self

    @property
    def all_judges(self) -> dict[str, JudgeModel]:
        return {DEFAULT_JUDGE: self.judge, **self.judges}

    @staticmethod
    def judge_key(name: str) -> str:
        """Where campaign.yaml holds the judge of this name."""
        return name if name == DEFAULT_JUDGE else f"judges.{name}"

    @property
    def asked_judges(self) -> dict[str, JudgeModel]:
        """Those that a criterion asks."""
        every = [each.judge for criterion in self.rubric.criteria for each in criterion.members or (criterion,)]
        wanted = {judge.by for judge in every if isinstance(judge, ModelProtocol)}
        return {name: judge for name, judge in self.all_judges.items() if name in wanted}

    @cached_property
    def anchors_path(self) -> Path | None:
        return None if self.anchors is None else self.folder / self.anchors


def load_campaign(folder: Path) -> Campaign:
    """Read `campaign.yaml` and the rubric it names.

    Raises `ConfigError` naming file, key, value and what is allowed.
    """
    path = folder / "campaign.yaml"
    raw = read_yaml(path)
    if raw.get("name", folder.name) != folder.name:
        raise ConfigError(f"{path}: name: {raw['name']!r} must be the folder's name, {folder.name!r}")
    if "folder" in raw:
        raise ConfigError(f"{path}: folder: unknown key; a campaign lies where its campaign.yaml lies")
    rubric_name = raw.pop("rubric", "rubric.yaml")
    if not isinstance(rubric_name, str):
        raise ConfigError(f"{path}: rubric: {rubric_name!r} must be the name of a file beside campaign.yaml")
    rubric = load_rubric(folder / rubric_name)
    try:
        return Campaign.model_validate({"name": folder.name, **raw, "rubric": rubric, "folder": folder})
    except ValidationError as error:
        raise ConfigError(explain(path, error)) from error


def load_rubric(path: Path) -> Rubric:
    """Read a rubric file. Raises `ConfigError`."""
    raw = read_yaml(path)
    try:
        return Rubric.model_validate(raw, context={"folder": path.parent})
    except ValidationError as error:
        raise ConfigError(explain(path, error)) from error


def with_rubric(campaign: Campaign, path: Path) -> Campaign:
    """The campaign as it would be if the file were its rubric. Raises `ConfigError`."""
    rubric = load_rubric(path)
    try:
        return Campaign.model_validate({**dict(campaign), "rubric": rubric})
    except ValidationError as error:
        raise ConfigError(explain(path, error)) from error


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The parser in C where PyYAML was built with it, several times as fast."""


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds one mapping. Raises `ConfigError`."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _LOADER)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: must hold a mapping of settings, holds {type(raw).__name__}")
    return raw
