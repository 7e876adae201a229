def head_revision() -> str:
    return "x"
