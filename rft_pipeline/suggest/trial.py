"""The models behind a suggestion: the judges that candidates ask, and the model that writes texts."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pydantic import ValidationError

from rft_pipeline import models
from rft_pipeline.campaign import Campaign, JudgeModel, replace_rubric
from rft_pipeline.campaign.addresses import judge_models, judge_source, with_answer_settings
from rft_pipeline.campaign.rubric import Criterion, Rubric
from rft_pipeline.engines import Asker, load
from rft_pipeline.errors import ConfigError, EngineError
from rft_pipeline.progress import Progress
from rft_pipeline.stages.judge_engines import JudgeEngines
from rft_pipeline.stages.judging import judging
from rft_pipeline.store import Home, judgements_table
from rft_pipeline.strict import explain
from rft_pipeline.suggest.candidates import Candidate

WRITING_SECONDS = 600.0
"""Seconds for an answer of a server that writes texts: they are longer than judgements."""


@dataclass(frozen=True)
class Writer:
    """Who writes texts."""

    name: str
    """A judge of campaign.yaml, or a model."""
    model: JudgeModel | None
    """None for a judge of campaign.yaml."""


def writer_of(campaign: Campaign, name: str, url: str | None, api_key_env: str | None) -> Writer:
    """A judge of campaign.yaml by its name, or a model in the notation of campaign.yaml: `served:NAME` with the `url`
    of its server, `embedded`, a hub id, or a folder. Raises `ConfigError`."""
    if name in campaign.all_judges:
        if url is not None or api_key_env is not None:
            raise ConfigError(f"--model {name}: is a judge of campaign.yaml, whose server is used; leave out --server")
        return Writer(name, None)
    key = {} if api_key_env is None else {"api_key_env": api_key_env}
    server = {} if url is None else {"server": {"url": url, "timeout_seconds": WRITING_SECONDS, **key}}
    raw = {"model": name, **server}
    try:
        return Writer(name, JudgeModel.model_validate(raw))
    except ValidationError as error:
        judges = ", ".join(campaign.all_judges)
        raise ConfigError(
            f"{explain(Path('--model'), error, raw)}\nGive --server URL with served:NAME, or a judge of campaign.yaml: "
            f"{judges}"
        ) from error


@dataclass(frozen=True)
class Trial:
    """Judges replies by candidates. Judgements are looked up and kept in the store's table like all others."""

    campaign: Campaign
    home: Home
    sources: Mapping[str, str]
    engines: JudgeEngines

    def judge_rows(self, rows: pl.DataFrame, criterion: Criterion) -> pl.DataFrame:
        """The judgements of replies by a criterion's judge. Raises `EngineError` if too many fail."""
        with judging(
            rows,
            [criterion],
            self.sources,
            judgements_table(self.home.store),
            self.engines,
            Progress("suggest"),
            served=self.campaign.served_judges,
        ) as judged:
            scores, _ = judged()
        failed = scores.filter(status="failed")
        if failed.height > self.campaign.checks.max_unscored_share * scores.height:
            raise EngineError(
                f"{failed.height} of {scores.height} judgements failed ({failed['reason'][0]}); the others are kept: "
                "run again for the rest"
            )
        return scores

    @contextmanager
    def writer(self, wanted: Writer) -> Iterator[Asker]:
        """The model that writes texts."""
        model = wanted.model
        if model is None:
            yield self.engines.asker(wanted.name)
        elif model.server is not None:
            with closing(load.load_server(model.model, model.server, "--model", model)) as server:
                yield server
        else:
            folder = models.resolve(model.model, self.home.models, self.campaign.folder).folder
            with closing(load.load_engine(folder, model.runtime)) as engine:
                yield engine


@contextmanager
def open_trial(
    campaign: Campaign, home: Home, criterion: Criterion, candidates: Sequence[Candidate], writer: Writer | None
) -> Iterator[Trial]:
    """A trial with all judges that the candidates name. Raises `ConfigError` for a judge that cannot serve one."""
    more = [
        Criterion.model_construct(name=f"{criterion.name}_candidate_{place}", judge=each.judge)
        for place, each in enumerate(candidates, start=1)
    ]
    rubric = Rubric.model_construct(criteria=(*campaign.rubric.criteria, *more))
    tried = replace_rubric(campaign, rubric, campaign.folder / "campaign.yaml")
    found = {name: models.identify(each, home.models, campaign.folder) for name, each in judge_models(tried).items()}
    sources = with_answer_settings(tried, found)
    if writer is not None and writer.model is None and judge_source(writer.name) not in sources:
        model = campaign.all_judges[writer.name].model
        sources[judge_source(writer.name)] = models.identify(model, home.models, campaign.folder)
    with closing(JudgeEngines(tried, home.models, sources)) as engines:
        yield Trial(tried, home, sources, engines)
