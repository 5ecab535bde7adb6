"""CONTRIBUTING's recipes are true: the files and names they point to exist, and an addition there takes effect."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
import typer
from pydantic import Field
from scripts.settings_page import option_rows
from typer.testing import CliRunner

from magicanimate.animation.settings import AnimateSettings, make_settings
from magicanimate.animation.shown import MOTION, Shown
from magicanimate.cli.options import with_options
from magicanimate.errors import InputError
from magicanimate.evaluate import Evaluation, catalog, evaluation
from magicanimate.sampling.solver_names import SOLVERS
from magicanimate.sampling.solvers import build_solver
from random_models import LEADING

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "magicanimate"
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = TEXT[TEXT.index("## Where to add") : TEXT.index("## Releases")]


def pointers(text: str) -> set[tuple[str, str]]:
    """Files and the names in them that recipes point to, written as `file.py`, `name`."""
    return set(re.findall(r"`([\w/]+\.py)`,\s+`(\w+)`", text))


def defined(file: str) -> set[str]:
    """Names that a module defines at its top level."""
    body = ast.parse((SOURCE / file).read_text(encoding="utf-8")).body
    names = {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    return names | {target.id for target in targets if isinstance(target, ast.Name)}


@pytest.mark.parametrize(("file", "name"), sorted(pointers(RECIPES)))
def test_recipes_point_to_names_that_exist(file, name):
    assert name in defined(file)


def test_recipes_point_to_files_that_exist():
    paths = re.findall(r"`((?:tests|docs|scripts)/[\w/.]+)`", RECIPES)
    assert len(paths) > 8
    assert all((ROOT / path).is_file() for path in paths)


def test_there_are_five_recipes_of_five_steps():
    recipes = re.split(r"^\*\*", RECIPES, flags=re.MULTILINE)[1:]
    assert [re.findall(r"^(\d)\.", recipe, re.MULTILINE) for recipe in recipes] == [list("12345")] * 5
    assert len(pointers(RECIPES)) > 12


def test_a_solver_is_added_by_its_name(monkeypatch):
    with pytest.raises(InputError, match="another"):
        make_settings(scheduler="another")
    monkeypatch.setitem(SOLVERS, "another", "EulerDiscreteScheduler")
    assert make_settings(scheduler="another").scheduler == "another"
    assert type(build_solver(LEADING, "another")) is type(build_solver(LEADING, "euler"))


class WithTempo(AnimateSettings):
    tempo: Annotated[float, Shown(MOTION, "beats")] = Field(default=2.0, ge=1, description="beats per second")


def test_an_option_is_added_by_its_field():
    app, given = typer.Typer(), {}

    @app.command()
    @with_options(WithTempo)
    def animate(**options: Any) -> None:
        given.update(options)

    assert CliRunner().invoke(app, ["--tempo", "3"]).exit_code == 0
    assert given == {"tempo": 3.0}
    assert ("`--tempo`", "2", "beats per second") in option_rows(WithTempo)
    assert CliRunner().invoke(app, ["--tempi", "3"]).exit_code == 2


def test_a_metric_is_added_by_its_value_and_its_entry(monkeypatch):
    measure = evaluation.measure
    monkeypatch.setattr(evaluation, "measure", lambda *given: (measure(*given)[0] | {"Brightness": 4.0}, {}))
    frames_FHWC = np.zeros((3, 16, 16, 3), np.uint8)

    def result() -> dict[str, Any]:
        made = Evaluation()
        made.add("clip", frames_FHWC, frames_FHWC)
        return made.result().blocks[catalog.CORRECT]

    assert "Brightness" not in result()
    metric = catalog.Metric("Brightness", (catalog.CORRECT,), "none", "gray levels")
    monkeypatch.setattr(catalog, "_FIXED", (*catalog._FIXED, metric))
    assert result()["Brightness"].value == 4.0
