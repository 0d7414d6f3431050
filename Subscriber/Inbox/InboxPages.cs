using System.Data.Common;
using System.Text;
using System.Text.RegularExpressions;
using Broker.Client;
using Dapper;
using Npgsql;

namespace Subscriber.Inbox;

/// <summary>A message of the inbox. Headers are encoded as fields 3 of broker.v1.Record; null: none.</summary>
internal sealed record InboxMessage(
    long InboxId,
    string Topic,
    int Partition,
    long Offset,
    long TimestampUnixMs,
    byte[]? Key,
    byte[] Value,
    byte[]? Headers)
{
    public int SizeBytes => 128 + (Key?.Length ?? 0) + Value.Length + (Headers?.Length ?? 0);
}

/// <summary>Messages after an id, and the id up to which there is nothing else that matches.</summary>
internal readonly record struct InboxPage(IReadOnlyList<InboxMessage> Messages, long UpTo, bool IsLast);

/// <summary>
/// Reads the inbox a page at a time, in the order of inbox ids, which is the order of commits. Readers take turns for a
/// few connections, however many there are. Every method throws Unavailable when Postgres is away.
/// </summary>
internal sealed class InboxPages(NpgsqlDataSource database) : IDisposable
{
    // The inner query ends at the rows' limit, the outer one at the bytes' limit, and never before the first row.
    private const string PageSql = """
        SELECT inbox_id AS "InboxId", topic AS "Topic", partition AS "Partition", "offset" AS "Offset",
            timestamp_unix_ms AS "TimestampUnixMs", key AS "Key", value AS "Value", headers AS "Headers"
        FROM (
            SELECT *, sum(octet_length(value)) OVER (ORDER BY inbox_id) - octet_length(value) AS bytes_before
            FROM (
                SELECT * FROM inbox WHERE inbox_id > @after AND inbox_id <= @upTo {0} ORDER BY inbox_id LIMIT @limit
            ) AS page
        ) AS sized
        WHERE bytes_before < @bytes
        ORDER BY inbox_id
        """;

    private readonly SemaphoreSlim _turns = new(SubscriberLimits.ReadConnections);

    public void Dispose() => _turns.Dispose();

    /// <summary>The highest id; 0 when there is no message.</summary>
    public Task<long> EndAsync(CancellationToken cancellationToken) => AskAsync(EndAsync, cancellationToken);

    // The highest id is taken first: what matches nothing up to there need not be looked at again.
    public Task<InboxPage> ReadAsync(Condition condition, long after, int limit, CancellationToken cancellationToken) =>
        AskAsync(
            async (connection, token) =>
            {
                var upTo = await EndAsync(connection, token);
                if (upTo <= after)
                {
                    return new InboxPage([], after, true);
                }

                var rows = await connection.QueryAsync<InboxMessage>(new CommandDefinition(
                    condition.Sql,
                    new { after, upTo, limit, bytes = (long)SubscriberLimits.ReadBytes, topic = condition.Topic },
                    cancellationToken: token));
                var messages = rows.AsList();
                return messages.Count == 0
                    ? new InboxPage(messages, upTo, true)
                    : new InboxPage(messages, messages[^1].InboxId, messages[^1].InboxId == upTo);
            },
            cancellationToken);

    private static async Task<long> EndAsync(NpgsqlConnection connection, CancellationToken cancellationToken) =>
        await connection.ExecuteScalarAsync<long?>(new CommandDefinition(
            "SELECT max(inbox_id) FROM inbox", cancellationToken: cancellationToken)) ?? 0;

    private async Task<T> AskAsync<T>(
        Func<NpgsqlConnection, CancellationToken, Task<T>> question, CancellationToken cancellationToken)
    {
        await _turns.WaitAsync(cancellationToken);
        try
        {
            await using var connection = await database.OpenConnectionAsync(cancellationToken);
            return await question(connection, cancellationToken);
        }
        catch (Exception e) when (e is DbException or TimeoutException)
        {
            throw new SubscriberException(
                SubscriberFailure.Unavailable, "Postgres is away. Go on later after the last id that you have.", e);
        }
        finally
        {
            _turns.Release();
        }
    }

    /// <summary>
    /// A topic filter as SQL: a comparison where it is literal, an anchored regular expression where it is not. Filter
    /// is null for all topics.
    /// </summary>
    internal sealed record Condition(string Sql, string Topic, TopicFilter? Filter)
    {
        /// <summary>All topics.</summary>
        public static Condition All { get; } = new(Format(""), "", null);

        public static Condition Of(string? filter)
        {
            if (filter is null or ">")
            {
                return All;
            }

            if (!TopicFilter.TryParse(filter, out var parsed, out var reason))
            {
                throw new SubscriberException(SubscriberFailure.Invalid, reason);
            }

            return parsed.IsLiteral
                ? new Condition(Format("AND topic = @topic"), filter, parsed)
                : new Condition(Format("AND topic ~ @topic"), ToRegex(filter), parsed);
        }

        public bool Matches(string topic) => Filter is null || Filter.Matches(topic);

        /// <summary>orders.*.created becomes ^orders\.[^.]+\.created$, orders.> becomes ^orders\..+$.</summary>
        internal static string ToRegex(string filter)
        {
            var regex = new StringBuilder("^");
            foreach (var token in filter.Split('.'))
            {
                regex.Append(regex.Length > 1 ? "\\." : "").Append(token switch
                {
                    "*" => "[^.]+",
                    ">" => ".+",
                    _ => Regex.Escape(token),
                });
            }

            return regex.Append('$').ToString();
        }

        private static string Format(string condition) => PageSql.Replace("{0}", condition, StringComparison.Ordinal);
    }
}
