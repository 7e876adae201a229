"""What a finding offers, pasted in place of the hazard, is judged again: the rule finds nothing more."""

import ast
import re
from pathlib import Path

import pytest
from lint.conftest import HERE, MakeProject
from lint.test_corpus import list_cases
from lint.test_fixes import A_COMMAND, check

from remit.migrations.lint.model import Finding
from remit.migrations.lint.project import load_project
from remit.migrations.lint.run import lint

CORPUS = HERE / "corpus"
# PostgreSQL has no way to add an exclusion constraint that stops nobody.
NO_CODE = {("long-work-under-lock", "hazard_exclusion")}
TO_THE_END = {"autocommit-commits-earlier-half"}
HEAD = 'import sqlalchemy as sa\nfrom alembic import op\n\nrevision = "{0}"\ndown_revision = "{1}"\n\n\n'


def split_fix(code: str) -> list[str]:
    """What goes here, and what goes into each revision after this one."""
    here, *later = re.split(r"^# (?=the next revision|the one after)", code, flags=re.MULTILINE)
    return [here, *(part.partition("\n")[2] for part in later)]


def indent(code: str) -> str:
    lines = [line for line in code.splitlines() if line.strip()]
    if not any(not line.startswith("#") for line in lines):
        lines.append("pass")
    return "".join(f"    {line}\n" for line in lines)


def replace(text: str, line: int, code: str, *, to_the_end: bool) -> str:
    """Put code in place of the statement at a line, or of the loop around it."""
    [function] = [
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or 0)
    ]
    around = [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.stmt) and node is not function and node.lineno <= line <= (node.end_lineno or 0)
    ]
    around.sort(key=lambda node: node.lineno - (node.end_lineno or 0))
    loops: list[ast.stmt] = [node for node in around if isinstance(node, ast.For | ast.While)]
    target = around[0] if to_the_end else (loops or [around[-1]])[0]
    last = function.end_lineno if to_the_end else target.end_lineno
    spaces = " " * (target.col_offset - 4)
    lines = text.splitlines(keepends=True)
    lines[target.lineno - 1 : last] = [f"{spaces}{row}" for row in indent(code).splitlines(keepends=True)]
    return "".join(lines)


def paste(finding: Finding) -> None:
    """Do to a project what a person does who takes the offer."""
    file, code = finding.file, finding.fix
    text = file.read_text()
    if "import sqlalchemy" not in text:
        text = text.replace("from alembic import op", "import sqlalchemy as sa\nfrom alembic import op")
        moved = 1
    else:
        moved = 0
    line = finding.line + moved
    match finding.rule:
        case "several-heads":
            heads = tuple(code.split('"')[2].split())
            (file.parent / "0009.py").write_text(
                HEAD.format("0009", "x").replace('"x"', repr(heads)) + "def upgrade():\n    pass\n"
            )
            return
        case "cached-plan-breaks":
            app = file.parents[2] / "app.py"
            columns = code.partition('"')[2].partition('"')[0]
            app.write_text(app.read_text().replace("*", columns))
            return
        case "unused-suppression" | "suppression-without-reason":
            comment = "" if "out" in code else code
            text = re.sub(r"# remit: allow .*", comment, text)
            file.write_text(text)
            return
        case rule if rule.startswith("downgrade-"):
            file.write_text(text.partition("def downgrade")[0] + code + "\n")
            return
    here, *later = split_fix(code)
    file.write_text(replace(text, line, here, to_the_end=finding.rule in TO_THE_END))
    number = int(re.findall(r'revision = "(\d+)"', text)[0])
    for place, part in enumerate(later, number + 1):
        name = f"{place:04}"
        if (file.parent / f"{name}.py").exists():
            name = f"{place}0"
        head = HEAD.format(name, f"{place - 1:04}")
        (file.parent / f"{name}.py").write_text(f"{head}def upgrade():\n{indent(part)}")


@pytest.mark.parametrize(("rule", "case"), list_cases("hazard"))
def test_pasted_fix_is_clean(make_project: MakeProject, rule: str, case: str) -> None:
    folder = CORPUS / rule
    revisions = [file for file in sorted(folder.glob(f"{case}*.py")) if file.stem.partition("__")[0] == case]
    extra = [folder / name for name in ("app.py", "pyproject.toml") if (folder / name).exists()]
    config = make_project(revisions, extra)
    found = lint(load_project(config, "0001:heads")).findings
    for finding in found:
        if finding.rule != A_COMMAND:
            check(finding.fix)
    left = [item for item in found if item.rule == rule]
    assert left
    for _ in range(3):  # one finding after the other, as a person would
        if left and (rule, case) not in NO_CODE:
            paste(left[0])
            left = [item for item in lint(load_project(config, "0001:heads")).findings if item.rule == rule]
    assert bool(left) == ((rule, case) in NO_CODE), [(item.message, Path(item.file).read_text()) for item in left]
