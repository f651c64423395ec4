"""docs/architecture.md says what the repository holds."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def sentence(init: Path) -> str:
    """The first sentence of a package's docstring."""
    text = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def test_the_tree_shows_every_folder_with_its_sentence() -> None:
    folders = sorted(path for path in (ROOT / "rft_pipeline").iterdir() if (path / "__init__.py").is_file())
    shown = dict(re.findall(r"^\| `rft_pipeline/(\w+)/` \| (.+) \|$", PAGE, re.MULTILINE))
    assert shown == {path.name: sentence(path / "__init__.py") for path in folders}


def test_few_modules_are_in_no_folder() -> None:
    assert len([path for path in (ROOT / "rft_pipeline").glob("*.py") if path.name != "__init__.py"]) <= 6


def test_every_file_and_function_that_the_page_names_exists() -> None:
    named = re.findall(r"`((?:assets|rft_pipeline)/[\w/]+\.py)(?::([\w.]+))?`", PAGE)
    assert named
    for file, function in named:
        tree: ast.AST = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        for name in filter(None, function.split(".")):
            inside = {node.name: node for node in ast.iter_child_nodes(tree) if hasattr(node, "name")}
            targets = {
                target.id
                for node in ast.iter_child_nodes(tree)
                if isinstance(node, ast.Assign | ast.AnnAssign)
                for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
                if isinstance(target, ast.Name)
            }
            assert name in inside or name in targets, f"{file}: {function}"
            tree = inside.get(name, tree)
