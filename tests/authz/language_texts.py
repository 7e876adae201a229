"""Small schemas of every form that the language has, and of every form that it nearly has."""

_USERS = "definition user {}\ndefinition group {\n relation member: user | group#member\n}\n"


def _doc(body: str, head: str = "") -> str:
    return (
        f"{head}{_USERS}definition doc {{\n relation owner: user\n relation viewer: user | group#member\n"
        f" relation parent: doc\n relation crew: group\n {body}\n}}"
    )


def _relation(allowed: str, head: str = "use expiration\n") -> str:
    return f"{head}{_USERS}definition doc {{\n relation owner: {allowed}\n}}"


def _permission(expression: str, head: str = "") -> str:
    return _doc(f"permission see = {expression}", head)


_FLAGS = "use expiration\nuse self\nuse typechecking\n"
_OPEN = "definition user {}\ndefinition doc {\n relation any_user: user:*\n relation own: user\n"

TEXTS = {
    # Statements and their ends.
    "nothing": "",
    "a comment alone": "// nothing",
    "two definitions on a line": "definition user {} definition doc {}",
    "a semicolon around definitions": ";definition user {}; definition doc {};",
    "two semicolons between definitions": "definition user {};; definition doc {}",
    "a semicolon on the next line": "definition user {}\n; definition doc {}",
    "a body of semicolons": "definition user {;\n;}",
    "a body of a comment": "definition user {\n // nothing\n}",
    "statement and brace on a line": "definition user {}\ndefinition doc { relation own: user }",
    "statement; and brace on a line": "definition user {}\ndefinition doc { relation own: user; }",
    "two statements on a line": "definition user {}\ndefinition doc { relation one: user relation two: user\n}",
    "two statements; on a line": "definition user {}\ndefinition doc { relation one: user; relation two: user\n}",
    "brace on the next line": "definition user\n{}",
    "name on the next line": "definition\nuser {}",
    "colon on the next line": "definition user {}\ndefinition doc {\n relation own\n: user\n}",
    "type on the next line": "definition user {}\ndefinition doc {\n relation own:\n user |\n user:*\n}",
    "pipe on the next line": "definition user {}\ndefinition doc {\n relation own: user\n | user:*\n}",
    "line ends with an operator": _permission("owner +\n viewer"),
    "line begins with an operator": _permission("owner\n + viewer"),
    "a comment before the operator": _permission("owner // why\n + viewer"),
    "a comment behind the operator": _permission("owner + // why\n viewer"),
    "a block comment over lines": "definition doc {\n relation a_b: doc /* 1\n 2 */ relation b_a: doc\n}",
    "line ends inside parentheses": _permission("(owner +\nviewer)"),
    "closing parenthesis on its line": _permission("(owner\n)"),
    "arrow on the next line": _permission("parent\n->owner"),
    "line ends with an arrow": _permission("parent->\nowner"),
    "carriage returns": "definition user {}\rdefinition doc {\r\n relation own: user\r permission see = own\r\n}",
    "a form feed": "definition user {}\f\ndefinition doc {}",
    "no spaces": "definition user{}definition doc{relation own:user;permission see=own;}",
    "many spaces": "\tdefinition  user\t{ }\n\n\ndefinition doc {\n\n relation own : user : *\n\n}",
    "a comment never closed": "/* never\ndefinition user {}",
    "a comment in a comment": "/* one /* two */ */ definition user {}",
    "doc comments": "/** a\n * doc\n */\ndefinition user {} // end\n// last",
    # Names.
    "a name of 2": "definition us {}",
    "a name of 3": "definition use {}",
    "a name of 64": f"definition {'a' * 64} {{}}",
    "a name of 65": f"definition {'a' * 65} {{}}",
    "a name that ends with _": "definition user_ {}",
    "a name that begins with _": "definition _user {}",
    "a name that begins with a digit": "definition 1user {}",
    "a name with a capital": "definition User {}",
    "a name with an umlaut": "definition usér {}",
    "a name with a dash": "definition us-er {}",
    "a prefix": "definition acme/eng/user {}\ndefinition acme/doc {\n relation own: acme/eng/user\n}",
    "a prefix of 2": "definition ac/user {}",
    "a prefix of 64": f"definition {'a' * 64}/user {{}}",
    "a relation with a prefix": "definition user {}\ndefinition doc {\n relation a/own: user\n}",
    "a relation of 2": "definition user {}\ndefinition doc {\n relation ow: user\n}",
    "a relation of 64": f"definition user {{}}\ndefinition doc {{\n relation {'a' * 64}: user\n}}",
    "a relation of 65": f"definition user {{}}\ndefinition doc {{\n relation {'a' * 65}: user\n}}",
    "a permission of 2": "definition user {}\ndefinition doc {\n relation own: user\n permission p1 = own\n}",
    **{
        f"a relation named {word}{' under flags' if head else ''}": (
            f"{head}definition user {{}}\ndefinition doc {{\n relation {word}: user\n permission see = {word}\n}}"
        )
        for word in (
            "definition",
            "relation",
            "permission",
            "caveat",
            "nil",
            "with",
            "use",
            "from",
            "all",
            "partial",
            "expiration",
            "and",
            "self",
            "typechecking",
        )
        for head in ("", _FLAGS)
    },
    "a keyword with a capital": "Definition user {}",
    # Flags.
    "every flag": _FLAGS + "definition user {}",
    "a flag twice": "use self\nuse self\ndefinition user {}",
    "two flags on a line": "use self use expiration definition user {}",
    "a flag behind a definition": "definition user {}\nuse self",
    "a flag on the next line": "use\nself\ndefinition user {}",
    "an unknown flag": "use tuesday\ndefinition user {}",
    "no flag": "use\ndefinition user {}",
    # Kinds of subjects.
    "a type twice": _relation("user | user"),
    "a type with and without expiration": _relation("user | user with expiration | user:* | user:* with expiration"),
    "a set with and without expiration": _relation("group#member | group#member with expiration"),
    "expiration twice": _relation("user with expiration and expiration"),
    "expiration without its flag": _relation("user with expiration", ""),
    "with nothing": _relation("user with"),
    "an ellipsis": _relation("user#...; relation two: user"),
    "an ellipsis at the end of a line": _relation("user#..."),
    "an ellipsis and the type": _relation("user#... | user"),
    "a set of everyone": _relation("group:*#member"),
    "a set that includes everyone": _OPEN + "}\ndefinition pad {\n relation see: doc#any_user\n}",
    "spaces in a set": _relation("group # member | user : *"),
    "an unknown type": _relation("usr"),
    "an unknown set": _relation("group#mamber"),
    "no type": _relation(""),
    "a pipe too many": _relation("user |"),
    "a star without a colon": _relation("user*"),
    # Expressions.
    "nested parentheses": _permission("((owner + (viewer & (crew - parent))) - nil)"),
    "empty parentheses": _permission("()"),
    "a parenthesis too many": _permission("(owner))"),
    "two operators": _permission("owner ++ viewer"),
    "words for operators": _permission("owner or viewer"),
    "an operator at the end": _permission("owner +"),
    "nil": _permission("nil + owner - nil"),
    "nil with capitals": _permission("NIL"),
    "any and all": _permission("parent . any ( owner ) & parent.all(owner)"),
    "none": _permission("parent.none(owner)"),
    "any of two": _permission("parent.any(owner, viewer)"),
    "any of an arrow": _permission("parent.any(parent->owner)"),
    "an arrow of arrows": _permission("parent->parent->owner"),
    "an arrow cut in two": _permission("parent - > owner"),
    "an arrow from parentheses": _permission("(parent)->owner"),
    "an arrow to nil": _permission("parent->nil"),
    "an arrow from a permission": _doc("permission top = parent\n permission see = top->owner"),
    "an arrow over everyone": _OPEN + " permission see = any_user->own\n}",
    "an arrow to one kind of two": "definition user {}\ndefinition org {\n relation adm: user\n}\n"
    "definition doc {\n relation par: user | org\n permission see = par->adm\n}",
    "self": _permission("owner + (parent->owner & self)", "use self\n"),
    "self without its flag": _permission("self"),
    "an arrow from self": _permission("self->owner", "use self\n"),
    "an arrow to self": _permission("parent->self", "use self\n"),
    "an unknown name": _permission("nobody"),
    "a member twice": _doc("permission owner = viewer"),
    "a definition twice": "definition user {}\ndefinition user {}",
    "a permission of itself": _permission("see"),
    "a permission of itself or more": _permission("see + owner"),
    "two permissions of each other": _doc("permission one = two\n permission two = one"),
    "two permissions of each other or more": _doc("permission one = two + owner\n permission two = one + viewer"),
    "a permission over its arrow": _permission("owner + parent->see"),
    "500 parts": _permission(" + ".join(["(owner & viewer)"] * 500)),
    # Annotations.
    "an annotation": _doc("permission see: user = owner", "use typechecking\n"),
    "an annotation that lacks a type": _doc("permission see: doc = owner", "use typechecking\n"),
    "an annotation nobody checks": _doc("permission see: doc = owner"),
    "an annotation of a set": _doc("permission see: group#member = viewer", "use typechecking\n"),
    # What is left over.
    "a brace too many": "definition user {} }",
    "a brace too few": "definition user {",
    "a strange character": "definition user {} $",
    "a relation outside": "relation own: user",
    "a flag inside": "definition user {\n use self\n}",
}

DIFFERENCES = {
    "a caveat": ("caveat small(n int) { n < 3 }\ndefinition user {}", "caveats are not supported"),
    "a flag for imports": ("use import\ndefinition user {}", "imports are not supported"),
    "a partial": (
        "use partial\npartial part {\n relation own: user\n}\ndefinition user {}\ndefinition doc {\n ...part\n}",
        "partials are not supported",
    ),
    "51 parentheses": (_permission("(" * 51 + "owner" + ")" * 51), "nested more than 50 deep"),
    "an arrow to a name that nothing has": (_permission("parent->ownr"), "did you mean 'owner'"),
    "all of a name that nothing has": (_permission("parent.all(ownr)"), "did you mean 'owner'"),
    "a permission of itself and more": (_permission("see & owner"), "no way out: see -> see"),
    "a permission of itself but for more": (_permission("see - owner"), "no way out: see -> see"),
    "a permission but for itself": (_permission("owner - see"), "'see' excludes itself"),
}
"""What SpiceDB takes and Remit refuses, and by which words."""

EXPRESSIONS = (
    "one + two & tri - fou",
    "one - two + tri & fou",
    "one & two + tri - fou",
    "one - two - tri + fou",
    "one & two - tri & fou",
    "one - (two & (tri + fou))",
    "one + (two - tri) & fou",
    "((one & two) + (tri & fou)) - one & fou",
)
"""Expressions over four relations, whose value depends on which operator binds tighter."""
