"""A backup: streams of tables by the dump tool, and one of definitions by a session of ours.

Several streams are one backup only if their readers provably see one instant;
otherwise there is one stream, and it is said why.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.api.errors import PreflightFailed
from engines.interface import BackupFacts, Coverage, JobContext, StreamSink
from engines.mysql_family import (
    catalogue,
    definitions,
    documents,
    expressions,
    grants,
    settings,
    snapshot,
    streams,
    tablespaces,
    tools,
    versions,
)
from engines.mysql_family.connection import Server, Session
from engines.mysql_family.objects import Definition
from engines.mysql_family.reading import Instant, Reading
from engines.mysql_family.snapshot import NotOneInstant, Way
from engines.mysql_family.source import Source
from engines.mysql_family.tools import Tools


class Dump:
    """One run of create_backup."""

    def __init__(self, server: Server, context: JobContext) -> None:
        self._server = server
        self._family = server.family
        self._context = context

    def write(self, sink: StreamSink, *, parallel: int) -> BackupFacts:
        database = self._server.spec.database
        with self._server.session(database) as session:
            rights = grants.read(session)
            # It reads tables, during which definitions need not be as they were.
            for warning in documents.warnings(session, self._family, database):
                self._context.warn(warning)
            source = Source.read(session, self._family, rights, database)
            for warning in expressions.warnings(session, self._family, database):
                self._context.warn(warning)
            found = tools.choose(self._family, self._server.environ, source.identity.series)
            instant = self._write_tables(session, source, found, sink, parallel)
        self._write_objects(sink, source.definitions)
        return BackupFacts(
            engine=self._family.name,
            engine_version=versions.layout(instant.streams),
            server_version=source.identity.version,
            tool_versions={self._family.dump: found.version},
            coverage=Coverage(start=instant.at, end=instant.at, lineage=source.identity.lineage),
            streams=(*instant.streams, streams.OBJECTS),
            database=database,
            position=instant.position,
            counts=source.counts,
            needs=source.needs() | _needs(instant),
        )

    def _write_tables(
        self, session: Session, source: Source, found: Tools, sink: StreamSink, parallel: int
    ) -> Instant:
        rights, log_bin = source.rights, source.identity.log_bin
        reading = Reading(
            server=self._server,
            tools=found,
            context=self._context,
            session=session,
            source=source,
            reads_position=log_bin and rights.any_on_server(self._family.position_rights),
        )
        tables = [table for table in source.tables if not table.is_view]
        sizes = catalogue.sizes(session, source.database) if parallel > 1 else {}
        shares = streams.plan(tables, sizes, parallel)
        if len(shares) > 1:
            possible = snapshot.ways(
                session, self._family, rights, reads_position=reading.reads_position
            )
            why = "there is nothing that would prove it"
            for way in possible.ways:
                try:
                    return reading.write(shares, way, sink)
                except NotOneInstant as not_one:
                    why = str(not_one)
            self._context.warn(
                f"one stream, not {len(shares)}, because several readers would not be known to "
                f"see one instant: {why}; {possible.cure}"
            )
        return reading.write({streams.DUMP: tables}, Way.ALONE, sink)

    def _write_objects(self, sink: StreamSink, found: Sequence[Definition]) -> None:
        writer = sink.open(streams.OBJECTS)
        try:
            writer.write(definitions.encode(found))
            writer.close()
        except BaseException as error:
            writer.abort(error)
            raise


def _needs(instant: Instant) -> dict[str, str]:
    """Raises: PreflightFailed: no server would take what was dumped."""
    size = instant.statement_bytes
    if size > settings.LONGEST_BYTES:
        raise PreflightFailed(
            f"a row makes a statement of {size} bytes in a dump, as binary data takes twice its "
            f"size in one; no server takes more than {settings.LONGEST_BYTES}, so no restore could "
            "load it: keep what is so large in several rows"
        )
    needs = tablespaces.needs(instant.tablespaces)
    return needs | ({settings.STATEMENT: str(size)} if size > settings.SHORT_BYTES else {})
