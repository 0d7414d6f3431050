using System.Collections.Concurrent;
using Broker.Protocol.Wire;
using Grpc.Core;
using Records = Broker.Protocol.V1.RecordBatch;

namespace Broker.Tests.Unit.Client;

/// <summary>
/// What a cluster of fake brokers has stored: logs in memory with the brokers' rules for producers
/// (Topics/TopicStateMachine). Every node shares it, so "moving leadership" is a matter of one field.
/// </summary>
internal sealed class FakeCluster : IAsyncDisposable
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, FakeTopic> _topics = new(StringComparer.Ordinal);

    public List<FakeBroker> Nodes { get; } = [];

    /// <summary>Index of the leading node.</summary>
    public volatile int Leader;

    /// <summary>Whether a follower forwards as real ones do, or refuses with UNAVAILABLE and who leads.</summary>
    public bool Forwards { get; set; } = true;

    public ConcurrentDictionary<string, string[]> LiveSubscriptions { get; } = new();

    public static async Task<FakeCluster> StartAsync(int nodes = 1)
    {
        var cluster = new FakeCluster();
        for (var i = 0; i < nodes; i++)
        {
            cluster.Nodes.Add(await FakeBroker.StartAsync(cluster, i));
        }

        return cluster;
    }

    public NodeAddress LeaderAddress => new()
    {
        NodeId = (uint)Leader + 1,
        Name = $"broker-{Leader + 1}",
        Address = Nodes[Leader].Address.OriginalString,
    };

    public Uri[] Addresses => [.. Nodes.Select(n => n.Address)];

    public string[] Values(string topic)
    {
        lock (_lock)
        {
            return _topics.TryGetValue(topic, out var log) ? [.. log.Records.Select(r => r.Value.ToStringUtf8())] : [];
        }
    }

    public IReadOnlyList<(string Name, long Next)> Topics()
    {
        lock (_lock)
        {
            return [.. _topics.Select(t => (t.Key, (long)t.Value.Records.Count))];
        }
    }

    public FakeTopic? Topic(string name)
    {
        lock (_lock)
        {
            return _topics.GetValueOrDefault(name);
        }
    }

    public List<StoredBatch> BatchesFrom(string name, long offset)
    {
        lock (_lock)
        {
            return _topics.TryGetValue(name, out var log)
                ? [.. log.Batches.Where(b => b.BaseOffset + b.Count > offset).Take(8)]
                : [];
        }
    }

    /// <summary>Stores a batch as the state machine would; a refusal comes as a status.</summary>
    public (StatusCode Code, string Message, PublishResponse? Response) Store(PublishRequest request)
    {
        var records = Records.Parser.ParseFrom(request.Batch).Records;
        var stamp = request.Producer;
        lock (_lock)
        {
            if (!_topics.TryGetValue(request.Topic, out var log))
            {
                _topics.Add(request.Topic, log = new FakeTopic());
            }

            var known = log.Producers.TryGetValue(stamp.Id, out var state);
            if (known && stamp.Epoch < state.Epoch)
            {
                return (StatusCode.FailedPrecondition, $"Producer epoch {stamp.Epoch} is fenced.", null);
            }

            if (known && stamp.Epoch == state.Epoch && stamp.Sequence != state.Next)
            {
                return stamp.Sequence + (ulong)records.Count <= state.Next
                    ? (StatusCode.OK, string.Empty, Answer(log.OffsetOf(stamp), records.Count, duplicate: true))
                    : (StatusCode.FailedPrecondition, $"The next sequence is {state.Next}.", null);
            }

            var offset = (long)log.Records.Count;
            log.Records.AddRange(records);
            log.Batches.Add(new StoredBatch
            {
                BaseOffset = offset,
                Batch = request.Batch,
                Count = (uint)records.Count,
                TimestampUnixMs = 1_700_000_000_000 + offset,
            });
            log.Producers[stamp.Id] = (stamp.Epoch, stamp.Sequence + (ulong)records.Count);
            log.Remembered[(stamp.Id, stamp.Epoch, stamp.Sequence)] = offset;
            return (StatusCode.OK, string.Empty, Answer(offset, records.Count, false));
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var node in Nodes)
        {
            await node.DisposeAsync();
        }
    }

    private PublishResponse Answer(long offset, int count, bool duplicate) => new()
    {
        BaseOffset = offset,
        Count = (uint)count,
        Duplicate = duplicate,
        TimestampUnixMs = 1_700_000_000_000 + offset,
        Leader = LeaderAddress,
    };
}
