"""Docstrings say what a thing does or is: none begins with an indirect question or an ellipsis."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
QUESTION = re.compile(r"(What|How|Whether|Whose|Which|Who|Where|Why|Of that|\.\.\.)\b")
FILES = sorted((ROOT / "src" / "magicanimate").rglob("*.py"))


def questions(source: str) -> Iterator[str]:
    """Yield the first lines of docstrings, those of attributes too, that begin with an indirect question."""
    for node in ast.walk(ast.parse(source)):
        for statement in getattr(node, "body", ()) if isinstance(getattr(node, "body", None), list) else ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                text = str(statement.value.value).strip()
                if QUESTION.match(text):
                    yield text.splitlines()[0]


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=lambda path: path.name)
def test_docstrings_begin_with_what_is_done_or_what_it_is(folder):
    found = {path.name: list(questions(path.read_text(encoding="utf-8"))) for path in FILES if path.parent == folder}
    assert not any(found.values()), {name: lines for name, lines in found.items() if lines}


def test_questions_are_seen():
    source = 'def f():\n    """How far a job is."""\n\nX = 1\n"""Whether it is on."""\nY = 2\n"""Bytes kept."""\n'
    assert sorted(questions(source)) == ["How far a job is.", "Whether it is on."]
