using Dapper;
using Npgsql;
using Publisher.Sending;

namespace Publisher.Outbox;

/// <summary>What happens to rows that outlive the moment: reload, relay, a new id after a hole, retention.</summary>
internal sealed partial class OutboxStore
{
    // A retried insert can leave its rows twice (see OutboxWriter): DISTINCT ON keeps one of each.
    private const string LoadSql = """
        SELECT DISTINCT ON (first_sequence, batch_index) first_sequence AS "First", key, value, headers
        FROM outbox
        WHERE producer_id = @producerId AND topic = @topic AND first_sequence = ANY(@firsts) AND state = 0
        ORDER BY first_sequence, batch_index
        """;

    private const string PendingChunksSql = """
        SELECT first_sequence AS "First", max(batch_index) + 1 AS "Count", min(id) AS "FirstId",
            sum(octet_length(value)
                + coalesce(octet_length(key), 0) + coalesce(octet_length(headers), 0))::bigint AS "SizeBytes"
        FROM outbox
        WHERE producer_id = @producerId AND topic = @topic AND first_sequence > @after AND state = 0
        GROUP BY first_sequence
        ORDER BY first_sequence
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

    /// <summary>A producer's pending chunks on a topic in sequence order, without their contents.</summary>
    public async Task<List<Chunk>> PendingChunksAsync(
        long producerId, string topic, long after, int limit, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        var rows = await connection.QueryAsync<ChunkRow>(new CommandDefinition(
            PendingChunksSql, new { producerId, topic, after, limit }, cancellationToken: cancellationToken));
        return rows
            .Select(
                row => new Chunk(producerId, topic, row.First, row.Count, (int)row.SizeBytes) { FirstId = row.FirstId })
            .ToList();
    }

    /// <summary>Reads contents back. A chunk that is not pending any more stays without.</summary>
    public async Task LoadAsync(IReadOnlyList<Chunk> chunks, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        var parameters = new
        {
            producerId = chunks[0].ProducerId,
            topic = chunks[0].Topic,
            firsts = chunks.Select(chunk => chunk.FirstSequence).ToArray(),
        };
        var rows = await connection.QueryAsync<RecordRow>(
            new CommandDefinition(LoadSql, parameters, cancellationToken: cancellationToken));
        var records = rows.ToLookup(row => row.First, row => new RecordBytes(row.Key, row.Value, row.Headers));
        foreach (var chunk in chunks)
        {
            var found = records[chunk.FirstSequence].ToList();
            if (found.Count == chunk.Count)
            {
                chunk.Batch = RecordBytes.EncodeBatch(found);
            }
        }
    }

    /// <summary>What became of a chunk that another process finished; null when its row is gone.</summary>
    public async Task<RowState?> StateOfAsync(long id, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        return await connection.QueryFirstOrDefaultAsync<RowState>(new CommandDefinition(
            """SELECT state AS "State", broker_offset AS "Offset", error AS "Error" FROM outbox WHERE id = @id""",
            new { id },
            cancellationToken: cancellationToken));
    }

    /// <summary>
    /// Moves chunks of one producer and topic, in sequence order, under a new id, in one statement. False, and nothing
    /// is moved, when an older chunk of the producer is still pending.
    /// </summary>
    public async Task<bool> TryRestampAsync(
        IReadOnlyList<Chunk> chunks, long newProducerId, CancellationToken cancellationToken)
    {
        var moved = await ExecuteAsync(
            """
            WITH clear AS (
                SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM outbox
                    WHERE producer_id = @producerId AND topic = @topic AND first_sequence < @head AND state = 0)),
            born AS (INSERT INTO producers (producer_id) SELECT @newProducerId FROM clear)
            UPDATE outbox SET producer_id = @newProducerId
            FROM clear
            WHERE producer_id = @producerId AND topic = @topic AND first_sequence = ANY(@firsts) AND state = 0
            """,
            new
            {
                producerId = chunks[0].ProducerId,
                topic = chunks[0].Topic,
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

    /// <summary>A row's state, its offset, and the brokers' reason when it was refused.</summary>
    internal sealed record RowState(short State, long? Offset, string? Error);

    private sealed record ChunkRow(long First, int Count, long FirstId, long SizeBytes);

    private sealed record RecordRow(long First, byte[]? Key, byte[] Value, byte[]? Headers);
}
