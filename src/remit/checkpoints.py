"""`/checkpoints`: where programs made with LangGraph keep what they need to go on. A thread is a task.

A checkpoint names the version of each of its channels; a channel's value in a version is a blob of its own, written
once and shared by the checkpoints that name it. Writes are what the steps after a checkpoint have produced so far.
"""

import base64
import binascii
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter
from pydantic import AfterValidator, BaseModel, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from remit.authz.caller import Caller, CurrentCaller
from remit.authz.guard import absent, authorize, label_of
from remit.authz.route import GuardedRoute, requires
from remit.content import JsonObject, Text
from remit.paging import Id
from remit.tasks.service import TASK

router = APIRouter(prefix="/checkpoints", tags=["checkpoints"], route_class=GuardedRoute)


def _at_most(bytes: int) -> AfterValidator:
    """A limit for what becomes part of a key: an entry of an index has some 2,700 bytes."""

    def check(text: str) -> str:
        if len(text.encode()) > bytes:
            raise PydanticCustomError("too_long", f"must have at most {bytes} bytes")
        return text

    return AfterValidator(check)


def _decode(value: object) -> bytes:
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            pass
    raise PydanticCustomError("base64", "must be base64")


Namespace = Annotated[Text, _at_most(1024)]
Key = Annotated[Text, _at_most(256)]
Blob = Annotated[bytes, PlainValidator(_decode), WithJsonSchema({"type": "string", "contentEncoding": "base64"})]


class BlobData(BaseModel):
    """The value of a channel in one version; `type` says how it was serialized."""

    channel: Key
    version: Key
    type: Text
    blob: Blob | None = None


class WriteData(BaseModel):
    """One write of a step. `task_id` is the step's, given by LangGraph; it is no task of the server."""

    task_id: Key
    idx: Annotated[int, Field(ge=-(2**31), lt=2**31)]
    channel: Text
    type: Text | None = None
    blob: Blob
    task_path: Text = ""


class BlobResponse(BaseModel):
    """A blob as it is read."""

    channel: str
    version: str
    type: str
    blob: str | None = None


class WriteResponse(BaseModel):
    """A write as it is read."""

    task_id: str
    idx: int
    channel: str
    type: str | None = None
    blob: str | None = None


class CheckpointListItem(BaseModel):
    """A checkpoint without its blobs."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    parent_checkpoint_id: str | None = None
    checkpoint: dict[str, Any]
    metadata: dict[str, Any]


class CheckpointTuple(CheckpointListItem):
    """A checkpoint with the blobs that it names and the writes after it."""

    blobs: list[BlobResponse] = []
    pending_writes: list[WriteResponse] = []


class GetTupleRequest(BaseModel):
    """Which checkpoint; the latest when no id is given."""

    thread_id: Id
    checkpoint_ns: Namespace = ""
    checkpoint_id: Key | None = None


class PutCheckpointRequest(BaseModel):
    """A checkpoint and the blobs that are new with it."""

    thread_id: Id
    checkpoint_ns: Namespace = ""
    checkpoint_id: Key
    parent_checkpoint_id: Key | None = None
    checkpoint: JsonObject
    metadata: JsonObject = {}
    blobs: list[BlobData] = []


class PutCheckpointResponse(BaseModel):
    """What was stored."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str


class PutWritesRequest(BaseModel):
    """What steps wrote after a checkpoint. `upsert`: a write that is there already is replaced, and kept otherwise."""

    thread_id: Id
    checkpoint_ns: Namespace = ""
    checkpoint_id: Key
    writes: list[WriteData]
    upsert: bool = False


class ListCheckpointsRequest(BaseModel):
    """Which checkpoints; of all namespaces when none is given."""

    thread_id: Id
    checkpoint_ns: Namespace | None = None
    before_checkpoint_id: Key | None = None
    filter_metadata: JsonObject | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class DeleteThreadRequest(BaseModel):
    """Whose checkpoints to remove."""

    thread_id: Id


async def _authorize(caller: Caller, permission: str, thread_id: str) -> None:
    await authorize(caller, TASK, permission, id=thread_id, columns="t.id")


_COLUMNS = "c.task_id AS thread_id, c.checkpoint_ns, c.checkpoint_id, c.parent_checkpoint_id, c.checkpoint, c.metadata"

# One statement is one snapshot: a checkpoint never comes without a blob that it names.
_GET_TUPLE = f"""
SELECT {_COLUMNS},
  ARRAY(SELECT ROW(b.channel, b.version, b.type, b.blob)
          FROM jsonb_each_text(CASE WHEN jsonb_typeof(c.checkpoint -> 'channel_versions') = 'object'
                                    THEN c.checkpoint -> 'channel_versions' END) named (channel, version)
          JOIN checkpoint_blobs b ON b.task_id = c.task_id AND b.checkpoint_ns = c.checkpoint_ns
                                 AND b.channel = named.channel AND b.version = named.version
         ORDER BY b.channel) AS blobs,
  ARRAY(SELECT ROW(w.write_task_id, w.idx, w.channel, w.type, w.blob)
          FROM checkpoint_writes w
         WHERE w.task_id = c.task_id AND w.checkpoint_ns = c.checkpoint_ns AND w.checkpoint_id = c.checkpoint_id
         ORDER BY w.write_task_id, w.idx) AS writes
  FROM checkpoints c
 WHERE c.task_id = $1 AND c.checkpoint_ns = $2 AND ($3::text IS NULL OR c.checkpoint_id = $3)
 ORDER BY c.checkpoint_id DESC LIMIT 1
"""


def _encode(blob: bytes | None) -> str | None:
    return None if blob is None else base64.b64encode(blob).decode()


@router.post("/get-tuple", openapi_extra=requires("task", "read"))
async def get_checkpoint_tuple(caller: CurrentCaller, body: GetTupleRequest) -> CheckpointTuple | None:
    """A checkpoint with all that it takes to go on from it, or null."""
    await _authorize(caller, "read", body.thread_id)
    async with caller.database.connection() as connection:
        row = await connection.fetchrow(_GET_TUPLE, body.thread_id, body.checkpoint_ns, body.checkpoint_id)
    if row is None:
        return None
    return CheckpointTuple(
        **_item(row),
        blobs=[
            BlobResponse(channel=channel, version=version, type=type, blob=_encode(blob))
            for channel, version, type, blob in row["blobs"]
        ],
        pending_writes=[
            WriteResponse(task_id=task_id, idx=idx, channel=channel, type=type, blob=_encode(blob))
            for task_id, idx, channel, type, blob in row["writes"]
        ],
    )


def _item(row: asyncpg.Record) -> dict[str, Any]:
    return {field: row[field] for field in CheckpointListItem.model_fields}


_PUT = """
WITH task AS (
  SELECT t.id, t.tenant_id FROM tasks t WHERE t.id = $1 AND t.status <> 'DELETED'
), stored AS (
  INSERT INTO checkpoints (tenant_id, task_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata)
  SELECT task.tenant_id, task.id, $2, $3, $4, $5, $6 FROM task
  ON CONFLICT (task_id, checkpoint_ns, checkpoint_id) DO UPDATE SET
    parent_checkpoint_id = excluded.parent_checkpoint_id, checkpoint = excluded.checkpoint, metadata = excluded.metadata
  RETURNING 1
), shared AS (
  INSERT INTO checkpoint_blobs (tenant_id, task_id, checkpoint_ns, channel, version, type, blob)
  SELECT task.tenant_id, task.id, $2, b.channel, b.version, b.type, b.blob
    FROM task, unnest($7::text[], $8::text[], $9::text[], $10::bytea[]) AS b (channel, version, type, blob)
   ORDER BY b.channel, b.version
  ON CONFLICT (task_id, checkpoint_ns, channel, version) DO NOTHING
) SELECT 1 FROM stored
"""


@router.post("/put", openapi_extra=requires("task", "update"))
async def put_checkpoint(caller: CurrentCaller, body: PutCheckpointRequest) -> PutCheckpointResponse:
    """Store a checkpoint, or replace it; a blob that is there stays as it was first written."""
    await _authorize(caller, "update", body.thread_id)
    blobs = {(blob.channel, blob.version): blob for blob in reversed(body.blobs)}  # the first of equals
    async with caller.database.connection() as connection:
        stored = await connection.fetchval(
            _PUT,
            body.thread_id,
            body.checkpoint_ns,
            body.checkpoint_id,
            body.parent_checkpoint_id,
            body.checkpoint,
            body.metadata,
            [channel for channel, _ in blobs],
            [version for _, version in blobs],
            [blob.type for blob in blobs.values()],
            [blob.blob for blob in blobs.values()],
        )
    if stored is None:
        raise absent(label_of(id=body.thread_id))
    return PutCheckpointResponse(
        thread_id=body.thread_id, checkpoint_ns=body.checkpoint_ns, checkpoint_id=body.checkpoint_id
    )


_PUT_WRITES = """
WITH task AS (
  SELECT t.id, t.tenant_id FROM tasks t WHERE t.id = $1 AND t.status <> 'DELETED'
), stored AS (
  INSERT INTO checkpoint_writes (tenant_id, task_id, checkpoint_ns, checkpoint_id, write_task_id, idx, channel, type,
                                 blob, task_path)
  SELECT task.tenant_id, task.id, $2, $3, w.write_task_id, w.idx, w.channel, w.type, w.blob, w.task_path
    FROM task, unnest($4::text[], $5::int[], $6::text[], $7::text[], $8::bytea[], $9::text[])
               AS w (write_task_id, idx, channel, type, blob, task_path)
   ORDER BY w.write_task_id, w.idx
  ON CONFLICT (task_id, checkpoint_ns, checkpoint_id, write_task_id, idx) DO {conflict}
) SELECT 1 FROM task
"""
_KEEP_WRITES = _PUT_WRITES.format(conflict="NOTHING")
_REPLACE_WRITES = _PUT_WRITES.format(
    conflict="UPDATE SET channel = excluded.channel, type = excluded.type, blob = excluded.blob, "
    "task_path = excluded.task_path"
)


@router.post("/put-writes", status_code=204, openapi_extra=requires("task", "update"))
async def put_writes(caller: CurrentCaller, body: PutWritesRequest) -> None:
    """Store what steps wrote after a checkpoint, which may itself come later."""
    await _authorize(caller, "update", body.thread_id)
    # Of equals within the request the one that would win if they came one by one.
    given = body.writes if body.upsert else reversed(body.writes)
    writes = list({(write.task_id, write.idx): write for write in given}.values())
    async with caller.database.connection() as connection:
        stored = await connection.fetchval(
            _REPLACE_WRITES if body.upsert else _KEEP_WRITES,
            body.thread_id,
            body.checkpoint_ns,
            body.checkpoint_id,
            [write.task_id for write in writes],
            [write.idx for write in writes],
            [write.channel for write in writes],
            [write.type for write in writes],
            [write.blob for write in writes],
            [write.task_path for write in writes],
        )
    if stored is None:
        raise absent(label_of(id=body.thread_id))


_LIST = f"""
SELECT {_COLUMNS} FROM checkpoints c
 WHERE c.task_id = $1 AND ($2::text IS NULL OR c.checkpoint_ns = $2) AND ($3::text IS NULL OR c.checkpoint_id < $3)
   AND ($4::jsonb IS NULL OR c.metadata @> $4)
 ORDER BY c.checkpoint_id DESC, c.checkpoint_ns LIMIT $5
"""


@router.post("/list", openapi_extra=requires("task", "read"))
async def list_checkpoints(caller: CurrentCaller, body: ListCheckpointsRequest) -> list[CheckpointListItem]:
    """The checkpoints of a thread, newest first."""
    await _authorize(caller, "read", body.thread_id)
    async with caller.database.connection() as connection:
        rows = await connection.fetch(
            _LIST, body.thread_id, body.checkpoint_ns, body.before_checkpoint_id, body.filter_metadata, body.limit
        )
    return [CheckpointListItem(**_item(row)) for row in rows]


_DELETE = """
WITH writes AS (DELETE FROM checkpoint_writes WHERE task_id = $1),
     blobs AS (DELETE FROM checkpoint_blobs WHERE task_id = $1)
DELETE FROM checkpoints WHERE task_id = $1
"""


@router.post("/delete-thread", status_code=204, openapi_extra=requires("task", "delete"))
async def delete_thread(caller: CurrentCaller, body: DeleteThreadRequest) -> None:
    """Remove every checkpoint of a thread; the task itself stays."""
    await _authorize(caller, "delete", body.thread_id)
    async with caller.database.connection() as connection:
        await connection.execute(_DELETE, body.thread_id)
