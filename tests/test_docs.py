"""Commands, targets, names, and links on the pages exist; pages are short, by kind, and listed."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from scripts.settings_page import page as settings_page

import magicanimate
from magicanimate.cli.main import app
from magicanimate.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
UsageError = typer.BadParameter.__base__  # click, which typer brings along, under whichever name
DOCS = ROOT / "docs"
KINDS = ("Tutorial", "How-to", "Reference", "Explanation")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)[^)]*\)")


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def _launched(words: list[str]) -> list[str]:
    """Strip `torchrun` and its options from a command."""
    return words[words.index("-m") + 1 :] if words[:1] == ["torchrun"] else words


def commands(program: str) -> list[list[str]]:
    """Arguments of every call of a program in the pages' shell blocks."""
    lines = [line for page in PAGES for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    words = [_launched(shlex.split(line, comments=True)) for line in lines]
    return [line[1:] for line in words if line and line[0].removeprefix(".venv/bin/") == program]


def parse(arguments: list[str]) -> None:
    """Let the command line understand arguments without running anything; raises UsageError or InputError."""
    command: Any = typer.main.get_command(app)
    context, rest = None, list(arguments)
    while True:
        context = command.make_context(command.name, rest, parent=context)
        rest = [*context._protected_args, *context.args]
        if not hasattr(command, "resolve_command") or not rest:
            return
        _, command, rest = command.resolve_command(context, rest)


@pytest.mark.parametrize("arguments", commands("magicanimate"), ids=" ".join)
def test_commands_parse(arguments):
    parse(arguments)


@pytest.mark.parametrize(
    "arguments",
    [["animate", "a.png", "b.mp4", "--no-such-option"], ["no-such-command"], ["animate", *"abc"]],
    ids=" ".join,
)
def test_wrong_commands_do_not_parse(arguments):
    with pytest.raises((UsageError, InputError)):
        parse(arguments)


def make(*arguments: str) -> int:
    return subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, check=False).returncode


@pytest.mark.parametrize("arguments", commands("make"), ids=" ".join)
def test_make_targets_exist(arguments):
    assert make(*arguments) == 0


def test_a_missing_target_is_seen():
    assert make("no-such-target") != 0


def test_python_examples_use_names_that_exist():
    for page in PAGES:
        for block in blocks(page, "python"):
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and node.module == "magicanimate":
                    assert all(hasattr(magicanimate, alias.name) for alias in node.names), page


def anchors(page: Path) -> set[str]:
    """Names of a page's headings in links, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def leads_somewhere(link: str, page: Path) -> bool:
    file, _, anchor = link.partition("#")
    target = page.parent / file if file else page
    return target.exists() and (not anchor or anchor in anchors(target))


def broken_links(text: str, page: Path) -> list[str]:
    return [link for link in LINK.findall(text) if "://" not in link and not leads_somewhere(link, page)]


def test_links_between_pages_lead_somewhere():
    broken = {page.name: broken_links(page.read_text(encoding="utf-8"), page) for page in PAGES}
    assert not any(broken.values()), broken


def test_broken_links_are_seen():
    links = ["no-such-page.md", "docs/index.md#no-such-heading", "#no-such-heading", "docs/index.md#tutorials"]
    assert broken_links(" ".join(f"[this]({link})" for link in links), ROOT / "README.md") == links[:3]


def kind_of(page: Path) -> str:
    """The kind that a page's first paragraph names; empty if there is none."""
    found = re.match(rf"# .+\n\n\*\*({'|'.join(KINDS)})\.\*\* ", page.read_text(encoding="utf-8"))
    return found[1] if found else ""


def listed() -> dict[Path, str]:
    """Pages that the index names, with the kind of the section they are in."""
    sections = re.split(r"^## ", (DOCS / "index.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {DOCS / link: text.splitlines()[0].rstrip("s") for text in sections for link in LINK.findall(text)}


def test_every_page_begins_with_its_kind_and_is_in_the_index_under_it():
    pages = {page: kind_of(page) for page in DOCS.rglob("*.md") if page.name != "index.md"}
    assert "" not in pages.values(), pages
    assert pages == listed()
    assert kind_of(ROOT / "README.md") == ""


def test_the_settings_page_is_what_the_code_says():
    written = (DOCS / "settings.md").read_text(encoding="utf-8")
    assert written == settings_page(), "run: python scripts/settings_page.py"


def test_the_pages_are_short():
    words = {page: len(page.read_text(encoding="utf-8").split()) for page in [ROOT / "README.md", *DOCS.rglob("*.md")]}
    del words[DOCS / "settings.md"]  # generated
    assert words.pop(ROOT / "README.md") < 900
    assert sum(words.values()) <= 14_000, sorted(words.items(), key=lambda item: -item[1])


def test_there_is_something_to_check():
    assert len(commands("magicanimate")) >= 3
    assert ["demo"] in commands("make")
    assert ["test"] in commands("make")
