using Dapper;
using Npgsql;
using NpgsqlTypes;
using Publisher.Sending;

namespace Publisher.Outbox;

/// <summary>
/// What the writer and the lanes ask of Postgres. Rows have state 0 (pending), 1 (committed) or 2 (refused).
/// </summary>
internal sealed partial class OutboxStore(NpgsqlDataSource database)
{
    private const string InsertSql = """
        INSERT INTO outbox (
            producer_id, topic, first_sequence, batch_index, sequence, key, value, headers, idempotency_key,
            fingerprint)
        SELECT $1, r.topic, r.first_sequence, r.batch_index, r.first_sequence + r.batch_index, r.key, r.value,
            r.headers, r.idempotency_key, r.fingerprint
        FROM unnest(
            $2::text[], $3::bigint[], $4::int[], $5::bytea[], $6::bytea[], $7::bytea[], $8::text[], $9::bytea[])
            WITH ORDINALITY AS r (
                topic, first_sequence, batch_index, key, value, headers, idempotency_key, fingerprint, position)
        ORDER BY r.position
        RETURNING id
        """;

    private const string FindSql = """
        SELECT o.id
        FROM unnest(@Topics, @Firsts) WITH ORDINALITY AS c (topic, first_sequence, position)
        JOIN outbox o
            ON o.producer_id = @ProducerId AND o.topic = c.topic AND o.first_sequence = c.first_sequence {0}
        ORDER BY c.position, o.batch_index
        """;

    private const string FindPendingSql = """AND o.state = 0""";

    private const string MarkSql = """
        UPDATE outbox o
        SET state = 1, committed = now(), partition = c.stored_in,
            broker_offset = CASE WHEN c.base_offset >= 0 THEN c.base_offset + o.batch_index END
        FROM unnest(@Producers, @Topics, @Partitions, @Firsts, @StoredIn, @Offsets)
            AS c (producer_id, topic, partition, first_sequence, stored_in, base_offset)
        WHERE o.producer_id = c.producer_id AND o.topic = c.topic AND o.partition = c.partition
            AND o.first_sequence = c.first_sequence AND o.state = 0
        """;

    public Task EnsureSchemaAsync(CancellationToken cancellationToken) =>
        OutboxSchema.EnsureAsync(database, cancellationToken);

    /// <summary>Makes a producer known to the relays, or says that it is still alive.</summary>
    public Task TouchProducerAsync(long producerId, CancellationToken cancellationToken) => ExecuteAsync(
        """
        INSERT INTO producers (producer_id) VALUES (@producerId)
        ON CONFLICT (producer_id) DO UPDATE SET seen = now()
        """,
        new { producerId },
        cancellationToken);

    /// <summary>
    /// Stores a plan in one statement, so all of it or nothing. Returns the rows' ids in the plan's order.
    /// </summary>
    public static async Task<List<long>> InsertAsync(
        NpgsqlConnection connection, InsertPlan plan, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(InsertSql, connection);
        AddRows(command, plan);
        var ids = new List<long>(plan.Rows);
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        while (await reader.ReadAsync(cancellationToken))
        {
            ids.Add(reader.GetInt64(0));
        }

        // The statement is committed when the server says so, which is what closing the reader waits for.
        await reader.CloseAsync();
        return ids;
    }

    /// <summary>
    /// The ids of a plan whose insert may have been committed; empty when it was not. Rows that are not pending any
    /// more are found by a walk over the table, for which there is seldom a reason.
    /// </summary>
    public async Task<List<long>> FindAsync(InsertPlan plan, bool pendingOnly, CancellationToken cancellationToken)
    {
        var sql = FindSql.Replace("{0}", pendingOnly ? FindPendingSql : "", StringComparison.Ordinal);
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        var parameters = new
        {
            plan.ProducerId,
            Topics = plan.Drafts.Select(draft => draft.Topic).ToArray(),
            Firsts = plan.Drafts.Select(draft => draft.FirstSequence).ToArray(),
        };
        var ids = await connection.QueryAsync<long>(
            new CommandDefinition(sql, parameters, cancellationToken: cancellationToken));
        return ids.AsList();
    }

    /// <summary>
    /// Marks acknowledged chunks, with their offsets. Returns the number of rows that were pending until now.
    /// </summary>
    public Task<int> MarkAsync(
        IReadOnlyList<(Chunk Chunk, BatchAck Ack)> acks, CancellationToken cancellationToken) =>
        ExecuteAsync(
            MarkSql,
            new
            {
                Producers = acks.Select(ack => ack.Chunk.ProducerId).ToArray(),
                Topics = acks.Select(ack => ack.Chunk.Topic).ToArray(),
                Partitions = acks.Select(ack => ack.Chunk.Partition).ToArray(),
                Firsts = acks.Select(ack => ack.Chunk.FirstSequence).ToArray(),
                StoredIn = acks.Select(ack => ack.Ack.Partition).ToArray(),
                Offsets = acks.Select(ack => ack.Ack.BaseOffset).ToArray(),
            },
            cancellationToken);

    /// <summary>Marks a chunk that the brokers will never take, with their reason.</summary>
    public Task<int> MarkRefusedAsync(Chunk chunk, string error, CancellationToken cancellationToken) => ExecuteAsync(
        """
        UPDATE outbox SET state = 2, error = @error
        WHERE producer_id = @ProducerId AND topic = @Topic AND partition = @Partition
            AND first_sequence = @FirstSequence AND state = 0
        """,
        new { chunk.ProducerId, chunk.Topic, chunk.Partition, chunk.FirstSequence, error },
        cancellationToken);

    /// <summary>Pending rows of all producers, counted no further than the limit.</summary>
    public async Task<long> CountPendingAsync(long limit, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        return await connection.ExecuteScalarAsync<long>(new CommandDefinition(
            "SELECT count(*) FROM (SELECT 1 FROM outbox WHERE state = 0 LIMIT @limit) AS pending",
            new { limit },
            cancellationToken: cancellationToken));
    }

    private static void AddRows(NpgsqlCommand command, InsertPlan plan)
    {
        var topics = new string[plan.Rows];
        var firsts = new long[plan.Rows];
        var indexes = new int[plan.Rows];
        var keys = new ReadOnlyMemory<byte>?[plan.Rows];
        var values = new ReadOnlyMemory<byte>[plan.Rows];
        var headers = new ReadOnlyMemory<byte>?[plan.Rows];
        var keysOfCallers = new string?[plan.Rows];
        var fingerprints = new byte[]?[plan.Rows];
        var at = 0;
        foreach (var draft in plan.Drafts)
        {
            for (var i = 0; i < draft.Records.Count; i++, at++)
            {
                var (record, once) = (draft.Records[i], draft.Keys[i]);
                topics[at] = draft.Topic;
                firsts[at] = draft.FirstSequence;
                indexes[at] = i;
                keys[at] = record.Key.IsEmpty ? null : record.Key;
                values[at] = record.Value;
                headers[at] = record.Rest;
                (keysOfCallers[at], fingerprints[at]) = (once?.Text, once?.Fingerprint);
            }
        }

        command.Parameters.Add(new NpgsqlParameter<long> { TypedValue = plan.ProducerId });
        AddArray(command, topics, NpgsqlDbType.Text);
        AddArray(command, firsts, NpgsqlDbType.Bigint);
        AddArray(command, indexes, NpgsqlDbType.Integer);
        AddArray(command, keys, NpgsqlDbType.Bytea);
        AddArray(command, values, NpgsqlDbType.Bytea);
        AddArray(command, headers, NpgsqlDbType.Bytea);
        AddArray(command, keysOfCallers, NpgsqlDbType.Text);
        AddArray(command, fingerprints, NpgsqlDbType.Bytea);
    }

    private static void AddArray<T>(NpgsqlCommand command, T[] values, NpgsqlDbType type) => command.Parameters.Add(
        new NpgsqlParameter<T[]> { TypedValue = values, NpgsqlDbType = NpgsqlDbType.Array | type });

    private async Task<int> ExecuteAsync(string sql, object parameters, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        return await connection.ExecuteAsync(
            new CommandDefinition(sql, parameters, cancellationToken: cancellationToken));
    }
}
