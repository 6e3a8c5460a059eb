"""Strict YAML: no duplicate keys, and no text read as a number.

YAML 1.1, which PyYAML reads, takes ``0374`` for 252, ``1:30`` for 90, ``386_456`` for 386456 and
``2024-01-01`` for a date. YAML 1.2 does not, nor is it done here: these are texts.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_REPEATED_MAX = 100_000
_NO_NUMBER = re.compile(r".*[_:].*|[-+]?0[0-9b].*")


class YamlError(ValueError):
    """A text is no YAML, or names a key twice; the message is one line."""


def parse_yaml(text: str) -> Any:  # noqa: ANN401
    """Return the content of a YAML document.

    Raises
    ------
    YamlError
        The text is not YAML, a mapping in it has a key twice, or a few lines of aliases (``*a``)
        stand for very many values.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark, problem = error.problem_mark or error.context_mark, error.problem or error.context
        line = f"line {mark.line + 1}: " if mark else ""
        hint = "; indent with blanks, not tabs" if problem and "\\t" in problem else ""
        raise YamlError(f"{line}{problem}{hint}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise YamlError(" ".join(str(error).split())) from None
    except RecursionError:
        raise YamlError("nested too deeply") from None


class _Loader(yaml.SafeLoader):
    def compose_document(self) -> yaml.Node | None:
        """Refuse aliases that multiply a small file into endless values."""
        node: yaml.Node | None = super().compose_document()
        if node is not None:
            sizes: dict[yaml.Node, int] = {}
            if _written_out(node, sizes) - len(sizes) > _REPEATED_MAX:
                raise YamlError("its aliases (*) repeat too much; write the values out")
        return node

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        """Refuse a key that comes twice, before merged sections (``<<``) bring theirs."""
        node = super().compose_mapping_node(anchor)
        assert node is not None
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            line, name = key.start_mark.line + 1, str(key.value)
            if (key.tag, name) in lines:
                raise YamlError(
                    f"line {line}: '{name}' again, as in line {lines[key.tag, name]}; give it once"
                )
            lines[key.tag, name] = line
        return node

    def construct_text(self, node: yaml.ScalarNode) -> str:
        return str(self.construct_scalar(node))

    def construct_number(self, node: yaml.ScalarNode) -> int | float | str:
        if _NO_NUMBER.fullmatch(node.value):
            return self.construct_text(node)
        if node.tag.endswith("int"):
            return int(self.construct_yaml_int(node))
        return float(self.construct_yaml_float(node))


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.construct_number)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_text)


def _written_out(node: yaml.Node, sizes: dict[yaml.Node, int]) -> int:
    """Return how many values a node has if each alias is written out; one in itself is endless."""
    if node not in sizes:
        sizes[node] = 2 * _REPEATED_MAX  # while it is counted
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        inner = [part for pair in pairs for part in pair]
        inner = node.value if isinstance(node, yaml.SequenceNode) else inner
        sizes[node] = 1 + sum(_written_out(one, sizes) for one in inner)
    return sizes[node]
