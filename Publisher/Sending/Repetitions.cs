using System.Collections.Concurrent;
using System.Data.Common;
using Publisher.Outbox;

namespace Publisher.Sending;

/// <summary>
/// Knows messages again by their idempotency keys, and answers a repetition as the first one was answered: it waits
/// with it for the brokers, whichever process sends it. The rows are watched by one query for all.
/// </summary>
internal sealed class Repetitions(OutboxStore store, TimeProvider time, ILogger<Repetitions> logger) : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(50);

    private readonly ConcurrentDictionary<(PublishTicket Ticket, int Index), long> _watched = new();
    private readonly SemaphoreSlim _added = new(0, 1);

    public override void Dispose()
    {
        _added.Dispose();
        base.Dispose();
    }

    /// <summary>
    /// Notes what of the tickets' messages is stored already. Answers those whose messages all are, or that use a key
    /// for another message. Returns the others, in their order.
    /// </summary>
    public async Task<List<PublishTicket>> SettleAsync(
        List<PublishTicket> tickets, CancellationToken cancellationToken)
    {
        var keys = tickets.Where(ticket => ticket.HasKeys)
            .SelectMany(ticket => ticket.Messages)
            .Where(message => message.Once is not null)
            .Select(message => message.Once!.Text)
            .ToArray();
        if (keys.Length == 0)
        {
            return tickets;
        }

        var rows = (await store.FindKeysAsync(keys, cancellationToken))
            .ToDictionary(row => row.Key, StringComparer.Ordinal);
        return tickets.Where(ticket => !ticket.HasKeys || !IsSettled(ticket, rows)).ToList();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var away = false;
        while (true)
        {
            if (_watched.IsEmpty)
            {
                await _added.WaitAsync(stoppingToken);
            }

            try
            {
                await LookAsync(stoppingToken);
                away = false;
            }
            catch (Exception e) when (e is DbException or TimeoutException)
            {
                if (!away)
                {
                    logger.PostgresAway("looking after repeated messages", e);
                }

                away = true;
            }

            await Task.Delay(Interval, time, stoppingToken);
        }
    }

    private bool IsSettled(PublishTicket ticket, Dictionary<string, OutboxStore.KeyedRow> rows)
    {
        var found = new List<(int Index, OutboxStore.KeyedRow Row)>();
        for (var i = 0; i < ticket.Messages.Count; i++)
        {
            if (ticket.Messages[i].Once is not { } once || !rows.TryGetValue(once.Text, out var row))
            {
                continue;
            }

            if (!row.Fingerprint.AsSpan().SequenceEqual(once.Fingerprint))
            {
                ticket.Fail(new PublishException(
                    PublishFailure.KeyReused,
                    $"The idempotency key '{once.Text}' names another message, which is stored as {row.Id}. Nothing "
                    + "was stored now; send a new message under a new key."));
                return true;
            }

            if (row.State == 2)
            {
                ticket.Fail(Refused(row.Error));
                return true;
            }

            found.Add((i, row));
        }

        foreach (var (index, row) in found.Where(pair => !ticket.IsRepeated(pair.Index)))
        {
            Repeat(ticket, index, row);
        }

        if (ticket.IsAllRepeated)
        {
            ticket.Stored();
        }

        return ticket.IsAllRepeated;
    }

    private void Repeat(PublishTicket ticket, int index, OutboxStore.KeyedRow row)
    {
        ticket.SetRepeated(index, row.Id);
        if (row.State == 1)
        {
            ticket.Committed(index, row.Partition, row.Offset ?? -1);
        }
        else if (ticket.WaitForCommit)
        {
            _watched[(ticket, index)] = row.Id;
            if (_added.CurrentCount == 0)
            {
                _added.Release();  // Only the writer adds, so nobody else fills it meanwhile.
            }
        }
    }

    // An answer that nobody waits for any more need not be looked for.
    private async Task LookAsync(CancellationToken cancellationToken)
    {
        foreach (var (entry, _) in _watched.Where(pair => pair.Key.Ticket.Completion.IsCompleted))
        {
            _watched.TryRemove(entry, out _);
        }

        foreach (var page in _watched.ToArray().Chunk(PublisherLimits.WatchedRows))
        {
            var ids = page.Select(pair => pair.Value).Distinct().ToArray();
            var rows = (await store.FindMessagesAsync(ids, cancellationToken)).ToDictionary(row => row.Id);
            foreach (var (entry, id) in page)
            {
                var row = rows.GetValueOrDefault(id);
                if (row is { State: 0 })
                {
                    continue;
                }

                _watched.TryRemove(entry, out _);
                entry.Ticket.Finish(entry.Index, row);
            }
        }
    }

    private static PublishException Refused(string? error) =>
        new(PublishFailure.Invalid, $"The brokers refused it: {error}");
}
