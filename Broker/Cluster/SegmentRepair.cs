using System.Collections.Immutable;
using Broker.Domain;
using Broker.Storage;
using Broker.Transport;
using Grpc.Core;

namespace Broker.Cluster;

/// <summary>
/// Mends damaged segments with the entries of a peer, one at a time, while the replica goes on. What no peer can give
/// now (it is away, or the entries are not committed yet) is tried again, ever less often.
/// </summary>
internal sealed class SegmentRepair(
    IReadOnlyList<IRepairable> logs,
    Func<NodeId[]> peers,
    FetchEntries fetch,
    TimeProvider time,
    Random random,
    ILogger logger)
{
    /// <summary>How often the logs are looked at: a damaged segment costs nothing but the reads that want it.</summary>
    private static readonly TimeSpan LookInterval = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan LookIntervalMax = TimeSpan.FromMinutes(1);

    /// <summary>Segments that no replica can read, each by its group and first entry, with its last.</summary>
    private volatile ImmutableDictionary<(GroupId Group, LogIndex First), LogIndex> _lost =
        ImmutableDictionary<(GroupId Group, LogIndex First), LogIndex>.Empty;

    /// <summary>
    /// The last entry of the segment that holds an entry, when every replica has said that it cannot read that; none
    /// otherwise. Any thread.
    /// </summary>
    public LogIndex LostThrough(GroupId group, LogIndex index)
    {
        foreach (var ((owner, first), last) in _lost)
        {
            if (owner == group && first <= index && index <= last)
            {
                return last;
            }
        }

        return LogIndex.None;
    }

    public int CountLost(GroupId group) => _lost.Keys.Count(segment => segment.Group == group);

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
                await (left == 0
                    ? Beat.NextAsync(LookInterval, time, cancellationToken)
                    : Task.Delay((delay / 2) + (random.NextDouble() * delay / 2), time, cancellationToken));
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }
        }
    }

    /// <summary>One round over all logs; how many segments were mended, and how many are still damaged.</summary>
    public async Task<(int Mended, int Left)> MendAllAsync(CancellationToken cancellationToken)
    {
        var (mended, left) = (0, 0);
        foreach (var log in logs)
        {
            var damaged = log.DamagedSegments;
            ForgetLost(log.Group, damaged);
            foreach (var segment in damaged)
            {
                var isMended = await TryMendAsync(log, segment, cancellationToken);
                mended += isMended ? 1 : 0;
                left += isMended ? 0 : 1;
            }
        }

        return (mended, left);
    }

    /// <summary>Who gave a segment up has purged it: it is gone from the log then, and nobody asks for it.</summary>
    private void ForgetLost(GroupId group, IReadOnlyList<DamagedSegment> damaged) =>
        _lost = _lost.RemoveRange(_lost.Keys.Where(lost =>
            lost.Group == group && damaged.All(segment => segment.First != lost.First)).ToArray());

    private async Task<bool> TryMendAsync(IRepairable log, DamagedSegment segment, CancellationToken cancellationToken)
    {
        var order = peers();
        random.Shuffle(order);
        var (damagedToo, elsewhere) = (0, 0);
        foreach (var peer in order)
        {
            try
            {
                var entries = await CollectAsync(log.Group, segment, peer, cancellationToken);
                log.ReplaceSegment(segment.First, entries);
                ClusterEvents.SegmentMended(
                    logger, log.Group.Value, segment.First, segment.Last.Index, peer.Value);
                _lost = _lost.Remove((log.Group, segment.First));
                return true;
            }
            catch (RpcException refusal) when (refusal.StatusCode == PeerTransfer.KeptElsewhere)
            {
                elsewhere++; // As it is to be.
            }
            catch (RpcException refusal) when (!cancellationToken.IsCancellationRequested)
            {
                damagedToo += refusal.StatusCode == StatusCode.DataLoss ? 1 : 0;
                ClusterEvents.SegmentNotFetched(
                    logger, log.Group.Value, segment.First, segment.Last.Index, peer.Value, refusal.Status.Detail);
            }
            catch (IOException failure)
            {
                ClusterEvents.SegmentNotReplaced(
                    logger, log.Group.Value, segment.First, segment.Last.Index, failure.Message);
                return false;
            }
        }

        if (damagedToo > 0 && damagedToo + elsewhere == order.Length && !_lost.ContainsKey((log.Group, segment.First)))
        {
            // It is asked for again all the same: an operator may give one replica its file back.
            _lost = _lost.Add((log.Group, segment.First), segment.Last.Index);
            ClusterEvents.SegmentLost(
                logger, log.Group.Value, segment.First, segment.Last.Index, GroupFolder.SegmentName(segment.First));
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
            peer, group, segment.First, segment.Last.Index, segment.Last.Term, segment.IsHollow, cancellationToken))
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
