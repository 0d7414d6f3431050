using Broker.Domain;
using Grpc.Core;

namespace Broker.Cluster;

/// <summary>
/// Mends damaged segments with the entries of a peer, one at a time, while the replica goes on. What no peer can give
/// now (it is away, or the entries are not committed yet) is tried again, ever less often.
/// </summary>
internal sealed class SegmentRepair(
    IReadOnlyList<IRepairable> logs,
    IReadOnlyList<NodeId> peers,
    FetchEntries fetch,
    TimeProvider time,
    Random random,
    ILogger logger)
{
    /// <summary>How often the logs are looked at: a damaged segment costs nothing but the reads that want it.</summary>
    private static readonly TimeSpan LookInterval = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan LookIntervalMax = TimeSpan.FromMinutes(1);

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var delay = LookInterval;
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                // Some luck is a reason to come back soon; none at all is a reason to wait longer.
                var (mended, left) = await MendAllAsync(cancellationToken);
                delay = left == 0 || mended > 0
                    ? LookInterval
                    : TimeSpan.FromTicks(Math.Min(delay.Ticks * 2, LookIntervalMax.Ticks));
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }

            var pause = (delay / 2) + (random.NextDouble() * delay / 2);
            await Task.Delay(pause, time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>One round over all logs; how many segments were mended, and how many are still damaged.</summary>
    public async Task<(int Mended, int Left)> MendAllAsync(CancellationToken cancellationToken)
    {
        var (mended, left) = (0, 0);
        foreach (var log in logs)
        {
            foreach (var segment in log.DamagedSegments)
            {
                var isMended = await TryMendAsync(log, segment, cancellationToken);
                mended += isMended ? 1 : 0;
                left += isMended ? 0 : 1;
            }
        }

        return (mended, left);
    }

    private async Task<bool> TryMendAsync(IRepairable log, DamagedSegment segment, CancellationToken cancellationToken)
    {
        var order = peers.ToArray();
        random.Shuffle(order);
        foreach (var peer in order)
        {
            try
            {
                var entries = await CollectAsync(log.Group, segment, peer, cancellationToken);
                log.ReplaceSegment(segment.First, entries);
                ClusterLog.SegmentMended(
                    logger, log.Group.Value, segment.First, segment.Last.Index, peer.Value);
                return true;
            }
            catch (RpcException refusal) when (!cancellationToken.IsCancellationRequested)
            {
                ClusterLog.SegmentNotFetched(
                    logger, log.Group.Value, segment.First, segment.Last.Index, peer.Value, refusal.Status.Detail);
            }
            catch (IOException failure)
            {
                ClusterLog.SegmentNotReplaced(
                    logger, log.Group.Value, segment.First, segment.Last.Index, failure.Message);
                return false;
            }
        }

        return false;
    }

    /// <summary>
    /// All entries before the file is touched: a fetch that breaks must leave nothing half done. One segment at a time,
    /// so the memory is bounded.
    /// </summary>
    private async Task<List<LogEntry>> CollectAsync(
        GroupId group, DamagedSegment segment, NodeId peer, CancellationToken cancellationToken)
    {
        var entries = new List<LogEntry>();
        var bytes = 0L;
        await foreach (var entry in fetch(
            peer, group, segment.First, segment.Last.Index, segment.Last.Term, cancellationToken))
        {
            bytes += entry.SizeBytes;
            if (bytes > segment.SizeBytes)
            {
                throw new RpcException(new Status(
                    StatusCode.ResourceExhausted,
                    $"More than the {segment.SizeBytes:N0} bytes came that the segment had."));
            }

            entries.Add(entry);
        }

        return entries;
    }
}
