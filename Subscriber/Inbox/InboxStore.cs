using Dapper;
using Npgsql;
using NpgsqlTypes;
using Subscriber.Following;

namespace Subscriber.Inbox;

/// <summary>
/// Writes the inbox. A transaction inserts rows and moves the positions of their topics together, and only rows that
/// continue a position are inserted: so every offset is there once, in order, whatever is tried again and whoever else
/// writes.
/// </summary>
internal sealed class InboxStore(NpgsqlDataSource database)
{
    private const string InsertSql = """
        INSERT INTO inbox (topic, partition, "offset", timestamp_unix_ms, key, value, headers, source)
        SELECT r.topic, r.partition, r."offset", r.timestamp_unix_ms, r.key, r.value, r.headers, r.source
        FROM unnest(
            $1::text[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[], $7::smallint[], $8::int[])
            WITH ORDINALITY AS r (topic, "offset", timestamp_unix_ms, key, value, headers, source, partition, position)
        ORDER BY r.position
        """;

    private const string MoveSql = """
        INSERT INTO positions (topic, partition, next_offset) SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[])
        ON CONFLICT (topic, partition) DO UPDATE SET next_offset = EXCLUDED.next_offset
        """;

    public Task EnsureSchemaAsync(CancellationToken cancellationToken) =>
        InboxSchema.EnsureAsync(database, cancellationToken);

    public async Task<List<(TopicPlace Place, long NextOffset)>> LoadPositionsAsync(
        CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        var rows = await connection.QueryAsync<(string Topic, int Partition, long NextOffset)>(new CommandDefinition(
            "SELECT topic, partition, next_offset FROM positions", cancellationToken: cancellationToken));
        return [.. rows.Select(static row => (new TopicPlace(row.Topic, row.Partition), row.NextOffset))];
    }

    public async Task<List<string>> LoadSubjectsAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        var rows = await connection.QueryAsync<string>(new CommandDefinition(
            "SELECT filter FROM subjects ORDER BY filter", cancellationToken: cancellationToken));
        return rows.AsList();
    }

    public Task AddSubjectAsync(string filter, CancellationToken cancellationToken) => ExecuteAsync(
        "INSERT INTO subjects (filter) VALUES (@filter) ON CONFLICT DO NOTHING", new { filter }, cancellationToken);

    public Task RemoveSubjectAsync(string filter, CancellationToken cancellationToken) =>
        ExecuteAsync("DELETE FROM subjects WHERE filter = @filter", new { filter }, cancellationToken);

    /// <summary>
    /// Stores what continues the positions. Returns what was stored, and topics whose position lies before.
    /// </summary>
    public async Task<InboxPlan> AppendAsync(IReadOnlyList<InboxAppend> appends, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        var topics = appends.Select(append => append.Topic.Place.Topic).Distinct().ToArray();
        var positions = await LockPositionsAsync(connection, transaction, topics, cancellationToken);
        var plan = InboxPlan.Make(appends, positions);
        if (plan.Rows > 0 || plan.Moved.Count > 0)
        {
            await WriteAsync(connection, transaction, plan, cancellationToken);
        }

        await transaction.CommitAsync(cancellationToken);
        return plan;
    }

    private static async Task<Dictionary<TopicPlace, long>> LockPositionsAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        string[] topics,
        CancellationToken cancellationToken)
    {
        // Two statements in one round trip; the second one's snapshot is taken after the lock is held.
        await using var batch = new NpgsqlBatch(connection, transaction);
        batch.BatchCommands.Add(new NpgsqlBatchCommand("SELECT pg_advisory_xact_lock($1)")
        {
            Parameters = { new NpgsqlParameter<long> { TypedValue = InboxSchema.WriterLock } },
        });
        batch.BatchCommands.Add(new NpgsqlBatchCommand(
            "SELECT topic, next_offset, partition FROM positions WHERE topic = ANY($1)")
        {
            Parameters = { Array(topics, NpgsqlDbType.Text) },
        });
        var positions = new Dictionary<TopicPlace, long>();
        await using var reader = await batch.ExecuteReaderAsync(cancellationToken);
        await reader.NextResultAsync(cancellationToken);
        while (await reader.ReadAsync(cancellationToken))
        {
            positions[new TopicPlace(reader.GetString(0), reader.GetInt32(2))] = reader.GetInt64(1);
        }

        return positions;
    }

    private static async Task WriteAsync(
        NpgsqlConnection connection, NpgsqlTransaction transaction, InboxPlan plan, CancellationToken cancellationToken)
    {
        await using var batch = new NpgsqlBatch(connection, transaction);
        batch.BatchCommands.Add(Insert(plan));
        batch.BatchCommands.Add(new NpgsqlBatchCommand(MoveSql)
        {
            Parameters =
            {
                Array(plan.Moved.Keys.Select(place => place.Topic).ToArray(), NpgsqlDbType.Text),
                Array(plan.Moved.Keys.Select(place => place.Partition).ToArray(), NpgsqlDbType.Integer),
                Array(plan.Moved.Values.ToArray(), NpgsqlDbType.Bigint),
            },
        });
        await batch.ExecuteNonQueryAsync(cancellationToken);
    }

    private static NpgsqlBatchCommand Insert(InboxPlan plan)
    {
        var topics = new string[plan.Rows];
        var offsets = new long[plan.Rows];
        var times = new long[plan.Rows];
        var keys = new ReadOnlyMemory<byte>?[plan.Rows];
        var values = new ReadOnlyMemory<byte>[plan.Rows];
        var headers = new ReadOnlyMemory<byte>?[plan.Rows];
        var sources = new short[plan.Rows];
        var partitions = new int[plan.Rows];
        var at = 0;
        foreach (var ((topic, partition), run) in plan.Runs)
        {
            for (var i = 0; i < run.Count; i++, at++)
            {
                var record = run[i];
                (topics[at], offsets[at], times[at]) = (topic, run.BaseOffset + i, record.TimestampUnixMs);
                keys[at] = record.Key.IsEmpty ? null : record.Key;
                values[at] = record.Value;
                headers[at] = record.Headers.IsEmpty ? null : record.Headers;
                sources[at] = (short)run.Source;
                partitions[at] = partition;
            }
        }

        return new NpgsqlBatchCommand(InsertSql)
        {
            Parameters =
            {
                Array(topics, NpgsqlDbType.Text),
                Array(offsets, NpgsqlDbType.Bigint),
                Array(times, NpgsqlDbType.Bigint),
                Array(keys, NpgsqlDbType.Bytea),
                Array(values, NpgsqlDbType.Bytea),
                Array(headers, NpgsqlDbType.Bytea),
                Array(sources, NpgsqlDbType.Smallint),
                Array(partitions, NpgsqlDbType.Integer),
            },
        };
    }

    private static NpgsqlParameter<T[]> Array<T>(T[] values, NpgsqlDbType type) =>
        new() { TypedValue = values, NpgsqlDbType = NpgsqlDbType.Array | type };

    private async Task ExecuteAsync(string sql, object parameters, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        await connection.ExecuteAsync(new CommandDefinition(sql, parameters, cancellationToken: cancellationToken));
    }
}
