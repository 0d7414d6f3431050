using System.Runtime.CompilerServices;
using Broker.Delivery;
using Broker.Domain;
using Broker.Groups;

namespace Broker.Api;

/// <summary>
/// What one fetch gets: it waits for the first delivery, then for the word of all shards' leaders that this was all,
/// and at last only as long as more comes at once. What comes beyond what an answer may hold is given back.
/// </summary>
internal sealed class FetchCall(
    IGroupSession session, IConsumerGroups groups, int records, long bytes, TimeSpan wait, TimeProvider time)
{
    /// <summary>The most that a delivery has beside its records: the topic's name, the token, some numbers.</summary>
    private const int EnvelopeBytes = 512;

    private static readonly TimeSpan Gather = TimeSpan.FromMilliseconds(Limits.FetchGatherMs);
    private static readonly TimeSpan ForAll = TimeSpan.FromMilliseconds(Limits.FetchAllMs);

    /// <exception cref="BrokerException">As the session ends.</exception>
    public async IAsyncEnumerable<GroupDelivery> ReadAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var patience = new CancellationTokenSource(wait, time);
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(patience.Token, cancellationToken);
        await using var deliveries = session.ReadAsync(ended.Token).GetAsyncEnumerator(ended.Token);
        var began = time.GetTimestamp();
        var (leftRecords, leftBytes, answerBytes) = (records, bytes, 0L);
        TimeSpan? firstAt = null;
        while (leftRecords > 0 && leftBytes > 0)
        {
            var next = deliveries.MoveNextAsync().AsTask();
            if (firstAt is not null && !session.AllQuiet.IsCompleted
                && await Task.WhenAny(next, session.AllQuiet) != next)
            {
                patience.CancelAfter(Gather);
            }

            if (!await CameAsync(next, cancellationToken))
            {
                yield break;
            }

            var delivery = deliveries.Current;
            answerBytes += delivery.Batch.Length + EnvelopeBytes;
            if (firstAt is not null && answerBytes > Limits.BatchBytes)
            {
                await groups.SettleAsync(
                    [new SettleOrder(SettleKind.Nack, delivery.Token, DelayMs: 0)], cancellationToken);
                yield break;
            }

            (leftRecords, leftBytes) = (leftRecords - delivery.Count, leftBytes - delivery.Batch.Length);
            var elapsed = time.GetElapsedTime(began);
            firstAt ??= elapsed;
            var left = Min(wait, firstAt.Value + ForAll) - elapsed;
            patience.CancelAfter(session.AllQuiet.IsCompleted || left < Gather ? Gather : left);
            yield return delivery;
        }
    }

    /// <summary>False: the wait is over.</summary>
    private static async Task<bool> CameAsync(Task<bool> next, CancellationToken cancellationToken)
    {
        try
        {
            return await next;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return false;
        }
    }

    private static TimeSpan Min(TimeSpan one, TimeSpan other) => one < other ? one : other;
}
