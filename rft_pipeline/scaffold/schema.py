"""The JSON Schemas of campaign.yaml and rubric.yaml, for editors that complete and check YAML."""

import json
from pathlib import Path
from typing import Any, Literal

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.rubric import Rubric

FOLDER = ".schema"
"""The folder of the schemas, next to the campaigns."""

Which = Literal["campaign", "rubric"]


def schema(which: Which) -> dict[str, Any]:
    """The schema of a file as it is written: in campaign.yaml the rubric is a file's name, and a source may be one."""
    if which == "rubric":
        return Rubric.model_json_schema()
    found = Campaign.model_json_schema()
    properties = found["properties"]
    for ours in ("folder", "continuation"):
        del properties[ours]
    properties["rubric"] = {"type": "string", "default": "rubric.yaml"}
    found["required"] = ["prompts"]
    sources = found["$defs"]["Prompts"]["properties"]
    sources |= {split: {"anyOf": [{"type": "string"}, source]} for split, source in sources.items()}
    return found


def write_schemas(folder: Path) -> None:
    """Write both schemas into `folder`/`FOLDER`."""
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    for which in ("campaign", "rubric"):
        text = json.dumps(schema(which), indent=1) + "\n"
        (folder / FOLDER / f"{which}.json").write_text(text, encoding="utf-8")


def first_line(which: Which) -> str:
    """The line that names a file's schema to its editor."""
    return f"# yaml-language-server: $schema=../{FOLDER}/{which}.json\n"
