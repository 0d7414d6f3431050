using System.Security.Cryptography;
using System.Text;
using Dapper;
using Npgsql;

namespace Broker.Tests.Demo;

/// <summary>Where outbox and inbox stood before the run, so that it can be repeated over the same data.</summary>
internal sealed record Baseline(long OutboxId, long InboxId, IReadOnlyDictionary<string, long> LastOffsets);

internal sealed record Verdict(long Duplicates, long Gaps, long Unexpected);

/// <summary>Looks into the publisher's and the subscriber's databases from outside.</summary>
internal sealed class Databases(string outbox, string inbox)
{
    public async Task<Baseline> TakeBaselineAsync(CancellationToken cancellationToken)
    {
        var outboxId = await ScalarAsync(outbox, "SELECT coalesce(max(id), 0) FROM outbox", null, cancellationToken);
        var inboxId = await ScalarAsync(inbox, "SELECT coalesce(max(inbox_id), 0) FROM inbox", null, cancellationToken);
        await using var connection = new NpgsqlConnection(inbox);
        var last = await connection.QueryAsync<(string Topic, long Offset)>(new CommandDefinition(
            "SELECT topic, max(\"offset\") FROM inbox GROUP BY topic", cancellationToken: cancellationToken));
        return new Baseline(outboxId, inboxId, last.ToDictionary(topic => topic.Topic, topic => topic.Offset));
    }

    public Task<long> CountOutboxAsync(Baseline before, CancellationToken cancellationToken) => ScalarAsync(
        outbox,
        "SELECT count(*) FROM outbox WHERE id > @id AND topic LIKE 'debian.%'",
        new { id = before.OutboxId },
        cancellationToken);

    public Task<long> CountInboxAsync(Baseline before, CancellationToken cancellationToken) => ScalarAsync(
        inbox,
        "SELECT count(*) FROM inbox WHERE inbox_id > @id AND topic LIKE 'debian.%'",
        new { id = before.InboxId },
        cancellationToken);

    /// <summary>
    /// Compares the inbox with what was sent, record by record, and checks that offsets rise by one within each topic.
    /// </summary>
    public async Task<Verdict> VerifyAsync(
        Baseline before, IReadOnlyList<PackageRecord> sent, CancellationToken cancellationToken)
    {
        var missing = new Dictionary<string, int>();
        foreach (var record in sent)
        {
            var print = Fingerprint(
                record.Topic, Encoding.UTF8.GetBytes(record.Package), Encoding.UTF8.GetBytes(record.Text));
            missing[print] = missing.GetValueOrDefault(print) + 1;
        }

        var known = new HashSet<string>(missing.Keys);
        long duplicates = 0, gaps = 0, unexpected = 0;
        var lastOffsets = new Dictionary<string, long>(before.LastOffsets);
        await using var connection = new NpgsqlConnection(inbox);
        var rows = connection.QueryUnbufferedAsync<InboxRow>(
            """
            SELECT topic AS "Topic", "offset" AS "Offset", key AS "Key", value AS "Value"
            FROM inbox WHERE inbox_id > @id AND topic LIKE 'debian.%' ORDER BY inbox_id
            """,
            new { id = before.InboxId });
        await foreach (var row in rows.WithCancellation(cancellationToken))
        {
            if (row.Offset != lastOffsets.GetValueOrDefault(row.Topic, -1) + 1)
            {
                gaps++;
            }

            lastOffsets[row.Topic] = row.Offset;
            var print = Fingerprint(row.Topic, row.Key ?? [], row.Value ?? []);
            if (missing.GetValueOrDefault(print) > 0)
            {
                missing[print]--;
            }
            else if (known.Contains(print))
            {
                duplicates++;
            }
            else
            {
                unexpected++;
            }
        }

        return new Verdict(duplicates, gaps + missing.Values.Sum(), unexpected);
    }

    private static string Fingerprint(string topic, byte[] key, byte[] value)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes(topic));
        hash.AppendData([0]);
        hash.AppendData(key);
        hash.AppendData([0]);
        hash.AppendData(value);
        return Convert.ToHexString(hash.GetHashAndReset());
    }

    private static async Task<long> ScalarAsync(
        string connectionString, string sql, object? parameters, CancellationToken cancellationToken)
    {
        await using var connection = new NpgsqlConnection(connectionString);
        return await connection.ExecuteScalarAsync<long>(
            new CommandDefinition(sql, parameters, cancellationToken: cancellationToken));
    }

    private sealed class InboxRow
    {
        public required string Topic { get; init; }

        public required long Offset { get; init; }

        public byte[]? Key { get; init; }

        public byte[]? Value { get; init; }
    }
}
