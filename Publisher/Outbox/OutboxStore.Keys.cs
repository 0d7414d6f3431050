using Dapper;

namespace Publisher.Outbox;

/// <summary>What is asked of single rows: by idempotency key, and by id.</summary>
internal sealed partial class OutboxStore
{
    /// <summary>The rows that have one of these idempotency keys.</summary>
    public async Task<List<KeyedRow>> FindKeysAsync(string[] keys, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        var rows = await connection.QueryAsync<KeyedRow>(new CommandDefinition(
            """
            SELECT idempotency_key AS "Key", fingerprint AS "Fingerprint", id AS "Id", state AS "State",
                greatest(partition, 0) AS "Partition", broker_offset AS "Offset", error AS "Error"
            FROM outbox WHERE idempotency_key IS NOT NULL AND idempotency_key = ANY(@keys)
            """,
            new { keys },
            cancellationToken: cancellationToken));
        return rows.AsList();
    }

    /// <summary>What became of rows; those that are gone are left out.</summary>
    public async Task<List<MessageRow>> FindMessagesAsync(long[] ids, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        var rows = await connection.QueryAsync<MessageRow>(new CommandDefinition(
            """
            SELECT id AS "Id", topic AS "Topic", state AS "State", greatest(partition, 0) AS "Partition",
                broker_offset AS "Offset", error AS "Error"
            FROM outbox WHERE id = ANY(@ids)
            """,
            new { ids },
            cancellationToken: cancellationToken));
        return rows.AsList();
    }

    /// <summary>A row that has an idempotency key.</summary>
    internal sealed record KeyedRow(
        string Key, byte[] Fingerprint, long Id, short State, int Partition, long? Offset, string? Error);

    /// <summary>
    /// A message's topic, its state, its partition and offset, and the brokers' reason when it was refused.
    /// </summary>
    internal sealed record MessageRow(long Id, string Topic, short State, int Partition, long? Offset, string? Error);
}
