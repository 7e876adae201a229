"""Explanations for people and programs: as sentences and a tree, as JSON, and redacted for the caller himself."""

from collections.abc import Mapping

from remit.authz.explain import Branch, Explanation
from remit.authz.model import Relationship, Resource, Subject

Names = Mapping[str, str]


def render_json(explanation: Explanation) -> dict[str, object]:
    """The whole explanation, for those who may manage the resource."""

    def branch(node: Branch) -> dict[str, object]:
        return {"text": node.text, "holds": node.holds, "parts": [branch(part) for part in node.parts]}

    return {
        "allowed": explanation.allowed,
        "subject": str(explanation.subject),
        "permission": explanation.permission,
        "resource": str(explanation.resource),
        "path": [str(fact) for fact in explanation.path],
        "tree": branch(explanation.tree),
        "missing": [str(fact) for fact in explanation.missing],
        "granters": [str(subject) for subject in explanation.granters],
    }


def say(fact: Relationship, names: Names, verb: str = "is") -> str:
    """A relationship in words: `user alice is an owner of task report`.

    Args:
        fact: the relationship.
        names: what people call things, by id; an id without a name is shown itself.
        verb: between its sides.
    """
    return f"{_name(fact.subject, names)} {verb} {_as_what(fact)} of {_name(fact.resource, names)}"


def render_text(explanation: Explanation, names: Names, *, redacted: bool = False) -> str:
    """The explanation as sentences and a tree.

    Args:
        explanation: the explanation.
        names: what people call things, by id.
        redacted: name relations alone, never who else stands where.
    """
    subject, resource = _name(explanation.subject, names), _name(explanation.resource, names)
    verdict = f"{subject} {'may' if explanation.allowed else 'may not'} {_word(explanation.permission)} {resource}"
    facts = explanation.path if explanation.allowed else explanation.missing
    said = _redacted(facts) if redacted else _lines(facts, names, "is" if explanation.allowed else "were")
    if explanation.allowed:
        lines = [f"{verdict}, {'by way of' if redacted else 'because'}:", *said] if said else [f"{verdict}."]
    elif said:
        together = " all of this were so" if len(said) > 1 else ""
        lines = [f"{verdict}. It would be allowed {'to' if redacted else f'if{together}'}:", *said]
    elif explanation.unfinished:
        lines = [f"{verdict}. What would allow it was not found in the time that there is for looking."]
    else:
        lines = [f"{verdict}, and no relationship to {subject} alone would allow it."]
    if redacted:
        return "\n".join(lines)
    if explanation.missing and explanation.granters:
        lines.append(f"Who could grant that: {', '.join(_name(granter, names) for granter in explanation.granters)}.")

    def draw(node: Branch, stem: str, branch: str, below: str) -> None:
        lines.append(f"{stem}{branch}{'yes' if node.holds else 'no '}  {node.text}")
        for number, part in enumerate(node.parts, 1):
            last = number == len(node.parts)
            draw(part, stem + below, "└─ " if last else "├─ ", "   " if last else "│  ")

    lines += ["", "Part by part:"]
    draw(explanation.tree, "  ", "", "")
    return "\n".join(lines)


def _redacted(facts: tuple[Relationship, ...]) -> list[str]:
    """The places of relationships, with nobody in them."""
    return list(dict.fromkeys(f"  {_as_what(fact)} of {_article(fact.resource.type)}" for fact in facts))


def _lines(facts: tuple[Relationship, ...], names: Names, verb: str) -> list[str]:
    said = [say(fact, names, verb) for fact in facts]
    width = max((len(line) for line in said), default=0)
    return [f"  {line:<{width}}   {fact}" for line, fact in zip(said, facts, strict=True)]


def _as_what(fact: Relationship) -> str:
    """`an owner`; what is named after its type is the only one, `the tenant`."""
    return f"the {_word(fact.relation)}" if fact.relation == fact.subject.type else _article(fact.relation)


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'aeio' else 'a'} {_word(name)}"


def _name(side: Subject | Resource, names: Names) -> str:
    kind = side.type.replace("_", " ")
    if side.id == "*":
        return f"every {kind}"
    text = f"{kind} {names.get(side.id, side.id)}"
    relation = side.relation if isinstance(side, Subject) else None
    return f"every {_word(relation)} of {text}" if relation else text


def _word(name: str) -> str:
    return name.replace("_", " ")
