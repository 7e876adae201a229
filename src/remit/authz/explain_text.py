"""Explanations for people and programs: as sentences and a tree, as JSON, and redacted for the caller himself."""

from remit.authz.explain import Branch, Explanation


def redact(explanation: Explanation) -> dict[str, object]:
    """What the caller himself may be told: names of relations and permissions, never who else stands where."""
    missing = [f"{fact.resource.type}#{fact.relation}" for fact in explanation.missing]
    return {
        "allowed": explanation.allowed,
        "permission": explanation.permission,
        "resource": str(explanation.resource),
        "through": sorted({f"{fact.resource.type}#{fact.relation}" for fact in explanation.path}),
        "missing": missing,
    }


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


def render_text(explanation: Explanation) -> str:
    """The explanation as sentences and a tree."""
    may = "may" if explanation.allowed else "may not"
    lines = [f"{explanation.subject} {may} {explanation.permission} {explanation.resource}."]
    if explanation.path:
        lines += ["Because of:", *(f"  {fact}" for fact in explanation.path)]
    if explanation.missing:
        lines += ["It would be allowed with:", *(f"  {fact}" for fact in explanation.missing)]
    if explanation.granters:
        lines.append(f"Who could grant that: {', '.join(map(str, explanation.granters))}")
    if not explanation.allowed and not explanation.missing:
        lines.append("No relationship to this subject alone would allow it.")

    def draw(node: Branch, indent: str) -> None:
        lines.append(f"{indent}{'yes' if node.holds else 'no '}  {node.text}")
        for part in node.parts:
            draw(part, indent + "  ")

    draw(explanation.tree, "")
    return "\n".join(lines)
