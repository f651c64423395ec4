"""Marks in a copied campaign what was written for the task of the campaign that it was copied from."""

from collections.abc import Callable, Iterable

from rft_pipeline.campaign.copied import mark
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.scaffold import yaml_text

TEXTS = ("question", "grades", "template", "templates", "instruction", "system", "positive", "negative")
"""Settings of judges that hold texts."""
Comment = Callable[[str], str]
BUDGETS = ("rollouts", "evaluation")
"""Blocks of campaign.yaml with a token budget of replies."""


def mark_texts(text: str, above: yaml_text.KeyPath, criteria: Iterable[Criterion], task: str) -> str:
    """Put a comment above the texts of each criterion's judge; `above` is the path of the list of criteria."""
    for place, criterion in enumerate(criteria):
        path: list[str | int] = [*above, place]
        written = [name for name in TEXTS if name in criterion.payload["judge"]]
        found = [name for name in written if yaml_text.has(text, [*path, "judge", name])]
        if found:
            text = _put_above_setting(text, path, found[0], mark(task))
    return text


def mark_squashes(text: str, above: yaml_text.KeyPath, criteria: Iterable[Criterion], comment: Comment) -> str:
    """Put a comment, made from the criterion's name, above the squash of each criterion; `above` is the path of the
    list of criteria."""
    for place, criterion in enumerate(criteria):
        if yaml_text.has(text, [*above, place, "judge", "squash"]):
            text = _put_above_setting(text, [*above, place], "squash", comment(criterion.name))
    return text


def _put_above_setting(text: str, criterion: yaml_text.KeyPath, setting: str, comment: str) -> str:
    """Put a comment above a setting of a criterion's judge, or above the first line that holds it."""
    places = [[*criterion, "judge", setting], [*criterion, "judge"], criterion]
    return next((new for each in places if (new := yaml_text.put_above(text, each, comment)) != text), text)


def mark_budgets(text: str, task: str) -> str:
    """Put a comment behind the token budgets of replies."""
    comment = f"max_new_tokens: chosen for {task}; set it to your longest reply"
    for block in BUDGETS:
        if yaml_text.has(text, (block, "sampling", "max_new_tokens")):
            places = [(block, "sampling", "max_new_tokens"), (block, "sampling")]
            text = next((new for each in places if (new := yaml_text.comment_after(text, each, comment)) != text), text)
    return text
