using Broker.Replication;
using Broker.Storage;

namespace Broker.Cluster;

/// <summary>
/// Watches the free space of the node's disk. Below the reserve (<see cref="ClusterOptions.DiskReserveBytes"/>) this
/// node takes no publishes, and leadership of its groups goes to nodes that have space: what is left is for what gives
/// space back (retention, purges, rewritten segments, snapshots), for votes, and for what other leaders send. Below
/// twice the reserve it warns. Both end a little above where they begin, so that they do not flicker.
/// </summary>
internal sealed class DiskReserve(
    ClusterOptions options,
    IReadOnlyList<ReplicaGroup> groups,
    IStorageDevice device,
    TimeProvider time,
    ILogger logger)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private long _freeBytes = long.MaxValue;
    private volatile bool _isShort;
    private volatile bool _isWarned;

    /// <summary>Free bytes of the disk when it was last looked at. Any thread.</summary>
    public long FreeBytes => Volatile.Read(ref _freeBytes);

    /// <summary>This node takes no publishes. Any thread.</summary>
    public bool IsShort => _isShort;

    /// <summary>What an operator should know; empty when there is space. Any thread.</summary>
    public string Warning => !_isWarned
        ? ""
        : $"the disk has {FreeBytes:N0} bytes left; below {options.DiskReserveBytes:N0} "
            + $"(Broker:DiskReserveBytes) this node takes no publishes{(_isShort ? ", as now" : "")}";

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        if (options.DiskReserveBytes == 0)
        {
            await Task.Delay(Timeout.InfiniteTimeSpan, time, cancellationToken);
        }

        while (true)
        {
            Look();
            await Beat.NextAsync(Interval, time, cancellationToken);
        }
    }

    private void Look()
    {
        var free = device.FreeBytes(options.DataDirectory);
        Volatile.Write(ref _freeBytes, free);
        var reserve = options.DiskReserveBytes;
        var isShort = free < (_isShort ? reserve + (reserve / 8) : reserve);
        var isWarned = isShort || free / 2 < (_isWarned ? reserve + (reserve / 8) : reserve);
        if (isShort != _isShort)
        {
            _isShort = isShort;
            if (isShort)
            {
                ClusterEvents.DiskShort(logger, options.DataDirectory, free, reserve);
            }
            else
            {
                ClusterEvents.DiskHasSpace(logger, options.DataDirectory, free);
            }
        }
        else if (isWarned && !_isWarned)
        {
            ClusterEvents.DiskSoonShort(logger, options.DataDirectory, free, reserve);
        }

        _isWarned = isWarned;
        foreach (var group in groups)
        {
            group.IsShortOfSpace = isShort;
        }
    }
}
