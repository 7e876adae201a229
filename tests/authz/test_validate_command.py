"""`remit authz validate` answers the same on the embedded engine, on SpiceDB's library and on a running SpiceDB."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from authz.test_conformance import FILES
from support.certificates import make_certificate
from support.spicedb_host import TOKEN, SpiceProcess, run_spicedb

from remit.authz.remote import RemoteError
from remit.authz.schema import parse_schema
from remit.authz.spicedb import SpiceDB
from remit.settings import Settings

SCHEMA = """
schema: |-
  use expiration
  definition user {}
  definition bot {}
  definition group {
    relation member: user | group#member
  }
  definition doc {
    relation viewer: user | user:* | bot | group#member | user with expiration
    relation banned: user
    permission read = viewer - banned
  }
relationships: |-
  doc:plain#viewer@user:ann
  doc:plain#viewer@bot:b-1
  doc:plain#viewer@group:eng#member
  doc:plain#viewer@user:gone[expiration:2020-01-01T00:00:00Z]
  group:eng#member@user:ben
  doc:open#viewer@user:*
  doc:open#banned@user:eve
assertions:
  assertTrue: ["doc:plain#read@user:ben", "doc:open#read@user:ann"]
  assertFalse: ["doc:open#read@user:eve", "doc:plain#read@user:gone"]
validation:
"""
TRUE_BLOCK = """
  doc:plain#read:
    - "[user:ann] is <doc:plain#viewer>"
    - "[bot:b-1] is <doc:plain#viewer>"
    - "[group:eng#member] is <doc:plain#viewer>"
    - "[user:ben] is <group:eng#member>"
  doc:open#read:
    - "[user:* - {user:eve}] is <doc:open#viewer>"
"""
FALSE_BLOCK = """
  doc:plain#read:
    - "[user:ann] is <doc:plain#viewer>"
    - "[user:cleo] is <doc:plain#viewer>"
    - "[group:ops#member] is <doc:plain#viewer>"
    - "[user:ben] is <group:eng#member>"
  doc:open#read:
    - "[user:* - {user:ann}] is <doc:open#viewer>"
"""
WRONG = {
    "doc:plain#read: user:cleo should hold it, and does not",
    "doc:plain#read: group:ops#member should hold it, and does not",
    "doc:plain#read: bot:b-1 holds it, and is not expected",
    "doc:open#read@user:ann is allowed, and must not be",
}
CAVEAT = """
schema: |-
  caveat small(n int) { n < 3 }
  definition user {}
  definition doc {
    relation viewer: user with small
  }
relationships: |-
  doc:plain#viewer@user:ann[small:{"n":1}]
"""


@pytest.fixture(scope="module")
def spicedb() -> Any:
    with run_spicedb() as process:
        yield process


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    texts = {"true": SCHEMA + TRUE_BLOCK, "false": SCHEMA + FALSE_BLOCK, "rubbish": "[", "caveat": CAVEAT}
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return [tmp_path / f"{name}.yaml" for name in texts]


def validate(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "remit", "authz", "validate", *map(str, arguments)]
    environment = {**os.environ, **variables}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)


@pytest.mark.parametrize("engine", ["embedded", "spicedb", "server"])
def test_every_judge_says_the_same(engine: str, files: list[Path], spicedb: SpiceProcess) -> None:
    options = ["--engine", "spicedb", "--endpoint", spicedb.endpoint, "--no-tls"]
    chosen = options if engine == "server" else ["--engine", engine]
    ran = validate(*chosen, "--format", "json", *FILES, *files, REMIT_SPICEDB_TOKEN=TOKEN)
    assert ran.returncode == 1, ran.stderr
    assert TOKEN not in ran.stdout + ran.stderr
    answer = json.loads(ran.stdout)
    assert list(answer) == ["files"]
    assert [set(one) for one in answer["files"]] == [{"file", "passed", "failures", "unsupported"}] * len(
        [*FILES, *files]
    )
    outcomes = {one["file"]: one for one in answer["files"]}
    for path in [*FILES, files[0]]:
        assert outcomes[str(path)] == {"file": str(path), "passed": True, "failures": [], "unsupported": None}
    assert set(outcomes[str(files[1])]["failures"]) == WRONG
    assert "not YAML" in outcomes[str(files[2])]["failures"][0]
    caveat = outcomes[str(files[3])]
    assert not caveat["passed"]
    assert caveat["unsupported"] == "caveats"


def test_a_server_that_cannot_be_asked_is_said_by_name(files: list[Path], spicedb: SpiceProcess) -> None:
    server = ["--engine", "spicedb", "--endpoint", spicedb.endpoint, "--no-tls"]
    wrong = validate(*server, files[0], REMIT_SPICEDB_TOKEN="some other key")
    assert (wrong.returncode, "refuses the token" in wrong.stderr) == (2, True), wrong.stderr
    assert "some other key" not in wrong.stdout + wrong.stderr
    without = validate(*server, files[0], REMIT_SPICEDB_TOKEN="")
    assert (without.returncode, "REMIT_SPICEDB_TOKEN" in without.stderr) == (2, True), without.stderr
    nobody = validate(*server[:3], "127.0.0.1:1", "--no-tls", files[0], REMIT_SPICEDB_TOKEN=TOKEN)
    assert (nobody.returncode, "no answer from SpiceDB at 127.0.0.1:1" in nobody.stderr) == (2, True), nobody.stderr


def test_a_server_over_tls_is_asked_over_tls(files: list[Path], tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with run_spicedb(certificate=certificate) as server:
        command = ["--engine", "spicedb", "--endpoint", server.endpoint, files[0]]
        trusted = validate(*command, REMIT_SPICEDB_TOKEN=TOKEN, REMIT_SPICEDB_CA=str(certificate))
        assert (trusted.returncode, "1 of 1 files passed." in trusted.stdout) == (0, True), trusted.stderr
        for options, words in (([], "REMIT_SPICEDB_CA"), (["--no-tls"], "leave --no-tls out if it serves TLS")):
            refused = validate(*command, *options, REMIT_SPICEDB_TOKEN=TOKEN)
            assert (refused.returncode, words in refused.stderr) == (2, True), refused.stderr
        # So does the engine of a server.
        told: dict[str, Any] = {"spicedb_endpoint": server.endpoint, "spicedb_token": server.token}
        asyncio.run(ask(Settings(**told, spicedb_ca=certificate)))
        for wrong in (Settings(**told), Settings(**told, spicedb_tls=False)):
            with pytest.raises(RemoteError) as away:
                asyncio.run(ask(wrong))
            assert away.value.transient


async def ask(settings: Settings) -> None:
    """Connect as a server does, and have an answer."""
    remote = SpiceDB.open(settings)
    try:
        await remote.find_schema_change(parse_schema("definition user {}"))
    finally:
        await remote.aclose()


def test_a_server_in_use_is_left_alone(files: list[Path]) -> None:
    import grpc
    from authzed.api.v1 import ReadSchemaRequest, WriteSchemaRequest
    from authzed.api.v1.schema_service_pb2_grpc import SchemaServiceStub

    with run_spicedb() as used, grpc.insecure_channel(used.endpoint) as channel:
        schemas, signed = SchemaServiceStub(channel), (("authorization", f"Bearer {TOKEN}"),)
        schemas.WriteSchema(WriteSchemaRequest(schema="definition mine {}"), metadata=signed)
        ran = validate(
            "--engine", "spicedb", "--endpoint", used.endpoint, "--no-tls", files[0], REMIT_SPICEDB_TOKEN=TOKEN
        )
        assert (ran.returncode, "has a schema" in ran.stderr) == (2, True), ran.stderr
        assert "mine" in schemas.ReadSchema(ReadSchemaRequest(), metadata=signed).schema_text
