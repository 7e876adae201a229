"""Where the server's time goes: a table of all profiled requests by layer, and a page with the functions of each."""

from collections.abc import Iterator, Sequence

from traffic.results import Profile, Results


def write_profiles(profiles: Sequence[Profile]) -> str:
    """The page of the functions."""
    lines = [
        "# Where the server's time goes",
        "",
        "Written with [the page of the API's speed](api.md), by py-spy's samples of the running server.",
    ]
    for profile in profiles:
        lines += _write_profile(profile)
    return "\n".join(lines) + "\n"


def write_summary(results: Results) -> Iterator[str]:
    """The part of the page that says where the time of slow requests goes, and of which it is not known yet."""
    missed = {row.name: row for row in results.missed()}
    yield from ("", "## Where the time goes", "")
    if not missed:
        yield "No request is slower than wanted."
    for name in missed:
        if name not in results.profiles:
            yield f"- {name}: not profiled yet (`scripts/bench api --profile-missed`)"
    profiles = list(results.profiles.values())
    if not profiles:
        return
    layers = list(dict.fromkeys(layer for profile in profiles for layer in profile.layers))
    layers.sort(key=lambda layer: -sum(profile.layers.get(layer, (0, 0))[0] for profile in profiles))
    yield (
        "Shares of the server's own time by layer, of which in system calls after the slash; "
        "[the functions](api-profiles.md)."
    )
    yield from ("", f"| request | {' | '.join(layers)} |", f"| --- |{' ---: |' * len(layers)}")
    for profile in profiles:
        said = " (missed)" if profile.name in missed else ""
        cells = [_cell(*profile.layers.get(layer, (0, 0))) for layer in layers]
        yield f"| {profile.name}{said} | {' | '.join(cells)} |"


def _cell(share: float, in_kernel: float) -> str:
    whole = f"{share:.0%}" if share else ""
    return f"{whole} / {in_kernel:.0%}" if in_kernel >= 0.005 else whole


def _write_profile(profile: Profile) -> Iterator[str]:
    environment = ", ".join(f"{name} {value}" for name, value in profile.environment.items())
    yield from ("", f"## {profile.name}", "", f"{profile.tasks:,} tasks, {profile.samples:,} samples. {environment}.")
    yield from ("", "| layer | of the server's time | in system calls |", "| --- | ---: | ---: |")
    for layer, (share, in_kernel) in profile.layers.items():
        yield f"| {layer} | {share:.1%} | {f'{in_kernel:.1%}' if in_kernel else ''} |"
    for title, functions in (("itself", profile.own), ("with what it calls", profile.cumulative)):
        yield from ("", f"| function, {title} | layer | share |", "| --- | --- | ---: |")
        yield from (f"| `{label}` | {layer} | {share:.1%} |" for label, layer, share in functions)
