"""Edits of a YAML file's text that keep its comments: set a value, or turn a setting into a comment."""

from collections.abc import Sequence

import yaml

KeyPath = Sequence[str | int]
"""Keys of mappings and places in lists, from the top: `("criteria", 2)`."""


def set_value(text: str, path: KeyPath, value: str) -> str:
    """Set the value at `path` to this YAML text; a mapping or key that is missing is added."""
    found = _find(text, path)
    if found is not None:
        _, node = found
        end = _end(text, node)
        return text[: node.start_mark.index] + value + text[end:]
    for known in range(len(path) - 1, 0, -1):
        parent = _find(text, path[:known])
        if parent is None or not isinstance(parent[1], yaml.MappingNode):
            continue
        missing = (
            "".join(f"{key}: {{" for key in path[known:-1]) + f"{path[-1]}: {value}" + "}" * (len(path) - known - 1)
        )
        start = parent[1].start_mark
        if parent[1].flow_style:
            return f"{text[: start.index + 1]}{missing}, {text[start.index + 1 :]}"
        return f"{text[: start.index]}{missing}\n{' ' * start.column}{text[start.index :]}"
    indented = "\n".join(f"{'  ' * depth}{key}:" for depth, key in enumerate(path))
    return f"{text.rstrip()}\n\n{indented} {value}\n"


def has(text: str, path: KeyPath) -> bool:
    """Whether there is a value at `path`."""
    return _find(text, path) is not None


def comment_out(text: str, path: KeyPath, why: str) -> str:
    """Put `# ` in front of each line of the setting at `path`, and a line that says why above it. A setting that is
    missing, or shares its lines with others, stays."""
    found = _find(text, path)
    if found is None:
        return text
    key, node = found
    lines = text.splitlines(keepends=True)
    first, last = key.start_mark.line, text.count("\n", 0, _end(text, node))
    indent = len(lines[first]) - len(lines[first].lstrip())
    if lines[first][indent : key.start_mark.column].strip(" -"):
        return text
    commented = [line if not line.strip() else f"{' ' * indent}# {line[indent:]}" for line in lines[first : last + 1]]
    return "".join([*lines[:first], f"{' ' * indent}# {why}\n", *commented, *lines[last + 1 :]])


def put_above(text: str, path: KeyPath, comment: str) -> str:
    """Put a comment on a line of its own above the setting at `path`, if the setting begins a line."""
    found = _find(text, path)
    if found is None:
        return text
    begin = text.rfind("\n", 0, found[0].start_mark.index) + 1
    indent = text[begin : found[0].start_mark.index]
    margin = indent[: len(indent) - len(indent.lstrip())]
    return text if indent.strip(" -") else f"{text[:begin]}{margin}# {comment}\n{text[begin:]}"


def comment_after(text: str, path: KeyPath, comment: str) -> str:
    """Replace the comment behind the value at `path`, or add one; the value must end its line."""
    found = _find(text, path)
    if found is None:
        return text
    end = _end(text, found[1])
    stop = text.find("\n", end) if "\n" in text[end:] else len(text)
    rest = text[end:stop].strip()
    return text if rest and not rest.startswith("#") else f"{text[:end]}  # {comment}{text[stop:]}"


def without_head(text: str) -> str:
    """The text without the comments above its first setting."""
    lines = text.splitlines(keepends=True)
    first = next((place for place, line in enumerate(lines) if line.strip() and not line.startswith("#")), 0)
    return "".join(lines[first:])


def _find(text: str, path: KeyPath) -> tuple[yaml.Node, yaml.Node] | None:
    """The key (in a list, the item itself) and the value at `path`."""
    key = node = yaml.compose(text, yaml.SafeLoader)
    for step in path:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == step), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            pair = (node.value[step], node.value[step])
        else:
            pair = None
        if pair is None:
            return None
        key, node = pair
    return (key, node) if key is not None and node is not None else None


def _end(text: str, node: yaml.Node) -> int:
    """The index behind the last character of a node; PyYAML's end of a block is where the next one begins."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(text, last[1] if isinstance(last, tuple) else last)
    end = int(node.end_mark.index)
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        return len(text[:end].rstrip())
    return end
