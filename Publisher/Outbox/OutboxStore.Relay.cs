using Dapper;
using Npgsql;
using Publisher.Sending;

namespace Publisher.Outbox;

/// <summary>What happens to rows that outlive the moment: reload, relay, a new id after a hole, retention.</summary>
internal sealed partial class OutboxStore
{
    // A retried insert can leave its rows twice (see OutboxWriter): DISTINCT ON keeps one of each.
    private const string LoadSql = """
        SELECT DISTINCT ON (c.place, o.batch_index) c.place::int AS "Place", o.key, o.value, o.headers
        FROM unnest(@producers, @partitions, @firsts) WITH ORDINALITY
            AS c (producer_id, partition, first_sequence, place)
        JOIN outbox o ON o.producer_id = c.producer_id AND o.topic = @topic AND o.partition = c.partition
            AND o.first_sequence = c.first_sequence AND o.state = 0
        ORDER BY c.place, o.batch_index
        """;

    private const string PendingChunksSql = """
        SELECT partition AS "Partition", first_sequence AS "First", max(batch_index) + 1 AS "Count",
            array_agg(id ORDER BY batch_index, id) AS "Ids",
            sum(octet_length(value)
                + coalesce(octet_length(key), 0) + coalesce(octet_length(headers), 0))::bigint AS "SizeBytes"
        FROM outbox
        WHERE producer_id = @producerId AND topic = @topic
            AND (first_sequence, partition) > (@afterFirst, @afterPartition) AND state = 0
        GROUP BY first_sequence, partition
        ORDER BY first_sequence, partition
        LIMIT @limit
        """;

    /// <summary>
    /// Locks a producer that seems dead and has pending rows; null when there is none. Others skip it while the
    /// transaction lasts.
    /// </summary>
    public static async Task<long?> TakeDeadProducerAsync(
        NpgsqlTransaction transaction, TimeSpan deadAfter, long[] except, CancellationToken cancellationToken) =>
        await transaction.Connection!.QueryFirstOrDefaultAsync<long?>(new CommandDefinition(
            """
            SELECT p.producer_id FROM producers p
            WHERE p.seen < now() - make_interval(secs => @seconds) AND p.producer_id <> ALL(@except)
                AND EXISTS (SELECT 1 FROM outbox o WHERE o.producer_id = p.producer_id AND o.state = 0)
            ORDER BY p.created
            LIMIT 1
            FOR UPDATE SKIP LOCKED
            """,
            new { seconds = deadAfter.TotalSeconds, except },
            transaction,
            cancellationToken: cancellationToken));

    public async Task<NpgsqlConnection> OpenAsync(CancellationToken cancellationToken) =>
        await database.OpenConnectionAsync(cancellationToken);

    /// <summary>Topics on which a producer has pending rows, by name, after the one given.</summary>
    public async Task<List<string>> PendingTopicsAsync(
        long producerId, string after, int limit, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        var topics = await connection.QueryAsync<string>(new CommandDefinition(
            """
            SELECT topic FROM outbox WHERE producer_id = @producerId AND topic > @after AND state = 0
            GROUP BY topic ORDER BY topic LIMIT @limit
            """,
            new { producerId, after, limit },
            cancellationToken: cancellationToken));
        return topics.AsList();
    }

    /// <summary>
    /// A producer's pending chunks on a topic in sequence order, those behind the one given, without their contents.
    /// </summary>
    public async Task<List<Chunk>> PendingChunksAsync(
        long producerId, string topic, Chunk? after, int limit, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        var rows = await connection.QueryAsync<ChunkRow>(new CommandDefinition(
            PendingChunksSql,
            new
            {
                producerId,
                topic,
                afterFirst = after?.FirstSequence ?? -1,
                afterPartition = after?.Partition ?? Chunk.Undivided,
                limit,
            },
            cancellationToken: cancellationToken));
        return rows
            .Select(row => new Chunk(producerId, topic, row.First, row.Count, (int)row.SizeBytes)
            {
                Partition = row.Partition,
                Ids = row.Ids,
            })
            .ToList();
    }

    /// <summary>
    /// Reads contents of chunks of one topic back. A chunk that is not pending any more, or not under its stamp, stays
    /// without.
    /// </summary>
    public async Task LoadAsync(IReadOnlyList<Chunk> chunks, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        var parameters = new
        {
            producers = chunks.Select(chunk => chunk.ProducerId).ToArray(),
            topic = chunks[0].Topic,
            partitions = chunks.Select(chunk => chunk.Partition).ToArray(),
            firsts = chunks.Select(chunk => chunk.FirstSequence).ToArray(),
        };
        var rows = await connection.QueryAsync<RecordRow>(
            new CommandDefinition(LoadSql, parameters, cancellationToken: cancellationToken));
        var records = rows.ToLookup(row => row.Place, row => new RecordBytes(row.Key, row.Value, row.Headers));
        for (var i = 0; i < chunks.Count; i++)
        {
            var found = records[i + 1].ToList();
            if (found.Count == chunks[i].Count)
            {
                chunks[i].Batch = RecordBytes.EncodeBatch(found);
            }
        }
    }

    /// <summary>
    /// Gives the rows of chunks their partitions, and stamps that count in these, in one statement. False, and nothing
    /// is moved, when a row is not under its chunk's stamp any more, or not pending, or when a relay works on the
    /// producer and this is not asked by it: the relay may be sending such a row as it is.
    /// </summary>
    public async Task<bool> TryDivideAsync(Division division, bool isRelayed, CancellationToken cancellationToken)
    {
        // KEY SHARE lets heartbeats pass and stands against the relay's FOR UPDATE, which skips it.
        // Locks wait for one another in the order of ids; who waited sees what the other has made of the rows.
        var moved = await ExecuteAsync(
            """
            WITH moves AS (
                SELECT * FROM unnest(@OldFirsts, @OldIndexes, @Producers, @Partitions, @Firsts, @Indexes)
                    AS m (old_first, old_index, producer_id, partition, first_sequence, batch_index)),
            found AS (
                SELECT o.id, m.* FROM outbox o
                JOIN moves m ON o.first_sequence = m.old_first AND o.batch_index = m.old_index
                WHERE o.producer_id = @ProducerId AND o.topic = @Topic AND o.partition = @Partition AND o.state = 0
                ORDER BY o.id
                FOR UPDATE OF o),
            free AS (
                SELECT 1 FROM producers WHERE producer_id = @ProducerId FOR KEY SHARE SKIP LOCKED),
            complete AS (
                SELECT 1 WHERE (SELECT count(DISTINCT (old_first, old_index)) FROM found) = @Rows
                    AND (@isRelayed OR EXISTS (SELECT 1 FROM free))),
            born AS (
                INSERT INTO producers (producer_id) SELECT DISTINCT moves.producer_id FROM moves, complete
                ON CONFLICT (producer_id) DO UPDATE SET seen = now())
            UPDATE outbox o
            SET producer_id = f.producer_id, partition = f.partition, first_sequence = f.first_sequence,
                batch_index = f.batch_index, sequence = f.first_sequence + f.batch_index
            FROM found f, complete
            WHERE o.id = f.id
            """,
            new
            {
                division.Sources[0].ProducerId,
                division.Sources[0].Topic,
                division.Sources[0].Partition,
                division.OldFirsts,
                division.OldIndexes,
                division.Producers,
                division.Partitions,
                division.Firsts,
                division.Indexes,
                division.Rows,
                isRelayed,
            },
            cancellationToken);
        return moved > 0;
    }

    /// <summary>
    /// Moves chunks of one producer, topic and partition, in sequence order, under a new id, in one statement. False,
    /// and nothing is moved, when an older chunk of the producer is still pending there.
    /// </summary>
    public async Task<bool> TryRestampAsync(
        IReadOnlyList<Chunk> chunks, long newProducerId, CancellationToken cancellationToken)
    {
        var moved = await ExecuteAsync(
            """
            WITH clear AS (
                SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM outbox
                    WHERE producer_id = @producerId AND topic = @topic AND partition = @partition
                        AND first_sequence < @head AND state = 0)),
            born AS (INSERT INTO producers (producer_id) SELECT @newProducerId FROM clear)
            UPDATE outbox SET producer_id = @newProducerId
            FROM clear
            WHERE producer_id = @producerId AND topic = @topic AND partition = @partition
                AND first_sequence = ANY(@firsts) AND state = 0
            """,
            new
            {
                producerId = chunks[0].ProducerId,
                topic = chunks[0].Topic,
                partition = chunks[0].Partition,
                head = chunks[0].FirstSequence,
                firsts = chunks.Select(chunk => chunk.FirstSequence).ToArray(),
                newProducerId,
            },
            cancellationToken);
        return moved > 0;
    }

    /// <summary>
    /// Deletes committed rows of one page of old rows. Returns where the next page begins, or null when the rest is
    /// young. The walk follows ids, which rise with time, so it needs no index of its own.
    /// </summary>
    public async Task<long?> DeleteCommittedAsync(
        long afterId, DateTimeOffset before, int limit, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        return await connection.ExecuteScalarAsync<long?>(new CommandDefinition(
            """
            WITH page AS (
                SELECT id, state, committed, created FROM outbox WHERE id > @afterId ORDER BY id LIMIT @limit),
            gone AS (
                DELETE FROM outbox o USING page
                WHERE o.id = page.id AND page.state = 1 AND page.committed < @before)
            SELECT CASE WHEN bool_and(created < @before) THEN max(id) END FROM page
            """,
            new { afterId, before = before.UtcDateTime, limit },
            cancellationToken: cancellationToken));
    }

    /// <summary>Forgets producers that have been silent since then and have no rows left.</summary>
    public Task<int> DeleteProducersAsync(DateTimeOffset silentSince, CancellationToken cancellationToken) =>
        ExecuteAsync(
            """
            DELETE FROM producers p WHERE p.seen < @since
                AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.producer_id = p.producer_id AND o.state = 0)
            """,
            new { since = silentSince.UtcDateTime },
            cancellationToken);

    // Not made by a constructor: to that Dapper gives no array.
    private sealed record ChunkRow
    {
        public int Partition { get; init; }

        public long First { get; init; }

        public int Count { get; init; }

        public long[] Ids { get; init; } = [];

        public long SizeBytes { get; init; }
    }

    private sealed record RecordRow(int Place, byte[]? Key, byte[] Value, byte[]? Headers);
}
