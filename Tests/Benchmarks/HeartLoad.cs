using System.Diagnostics;
using Broker.Cluster;
using Broker.Consensus;
using Broker.Protocol.V1;
using Broker.Replication;
using Google.Protobuf;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// Commands that are proposed inside the leader's own process: what consensus, storage, transport and state machine do
/// together, without a client and its gRPC.
/// </summary>
internal sealed class HeartLoad(int window, TimeSpan duration)
{
    public const string Topic = "heart";

    private readonly TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly LatencyLog _latencies = new();
    private long _end;
    private long _last;
    private long _records;
    private long _entries;
    private int _open;
    private long _errors;

    /// <summary>Runs a load against the data shard that this node leads; null when it leads none.</summary>
    public static async Task<LoadResult?> RunAsync(
        BrokerNode node, int sizeBytes, int records, int window, TimeSpan duration)
    {
        var group = node.Groups.Skip(1).FirstOrDefault(g => g.Status.Role == RaftRole.Leader);
        if (group is null)
        {
            return null;
        }

        // The compiler first, so that only the second load is measured.
        await new HeartLoad(window, TimeSpan.FromMilliseconds(500)).RunAsync(group, sizeBytes, records);
        return await new HeartLoad(window, duration).RunAsync(group, sizeBytes, records);
    }

    /// <summary>Called by the loop's thread; true: send the next one.</summary>
    public bool Answered(int records, long ticks, bool isError)
    {
        var now = Stopwatch.GetTimestamp();
        if (isError)
        {
            Interlocked.Increment(ref _errors);
        }
        else
        {
            _records += records;
            _entries++;
            _latencies.Add(ticks);
            _last = now;
            if (now < _end)
            {
                return true;
            }
        }

        if (Interlocked.Decrement(ref _open) == 0)
        {
            _done.TrySetResult();
        }

        return false;
    }

    private async Task<LoadResult> RunAsync(ReplicaGroup group, int sizeBytes, int records)
    {
        var batch = new RecordBatch();
        for (var i = 0; i < records; i++)
        {
            batch.Records.Add(new Record { Value = ByteString.CopyFrom(PublishLoad.Payload(sizeBytes)) });
        }

        var bytes = batch.ToByteArray();
        var proposals =
            Enumerable.Range(0, window).Select(_ => new HeartProposal(this, group, bytes, records)).ToList();
        var cpu = Environment.CpuUsage.TotalTime;
        var allocated = GC.GetTotalAllocatedBytes();
        var begun = Stopwatch.GetTimestamp();
        _end = begun + (long)(duration.TotalSeconds * Stopwatch.Frequency);
        _last = begun;
        _open = window;
        proposals.ForEach(static proposal => proposal.Send());
        await _done.Task;
        return new LoadResult
        {
            Mode = "heart",
            SizeBytes = sizeBytes,
            Window = window,
            Messages = _records,
            Errors = _errors,
            Seconds = Stopwatch.GetElapsedTime(begun, _last).TotalSeconds,
            ClientCpuSeconds = (Environment.CpuUsage.TotalTime - cpu).TotalSeconds,
            AllocatedBytesPerMessage = (GC.GetTotalAllocatedBytes() - allocated) / Math.Max(1.0, _records),
            Latencies = _latencies,
        };
    }
}
