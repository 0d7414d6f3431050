using System.Collections.Concurrent;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Transport;
using Xunit;

namespace Broker.Tests.Unit.PeerStreams;

/// <summary>What stands above a transport under test.</summary>
internal sealed class TestGate(int node) : IPeerGate
{
    public ConcurrentQueue<PeerMessage> Messages { get; } = new();

    public ConcurrentQueue<(NodeId Peer, string Reason)> Refusals { get; } = new();

    public ConcurrentQueue<(PeerMessage Message, byte[] Data)> Snapshots { get; } = new();

    public Dictionary<int, TestEntries> Sources { get; } = [];

    /// <summary>Stands in for all sources when it is set.</summary>
    public IEntrySource? Log { get; set; }

    public Func<PeerMessage, (bool Installed, long Term)> Install { get; set; } = message => (true, message.Term);

    public string WhyNot { get; set; } = "";

    public long Term { get; set; } = 5;

    public int ConnectedCount => _connected;

    public int DisconnectedCount => _disconnected;

    public PeerHello Hello => new() { ProtocolVersion = 2, NodeId = (uint)node, Name = $"broker-{node}" };

    private int _connected;
    private int _disconnected;

    /// <summary>While it is not set, what arrives is not taken, and whoever brings it waits.</summary>
    public ManualResetEventSlim Hears { get; } = new(initialState: true);

    public int AskedCount => _asked;

    /// <summary>How many messages each envelope has brought.</summary>
    public ConcurrentQueue<int> Envelopes { get; } = new();

    private int _asked;

    public bool Admits(PeerHello hello, out string reason)
    {
        Interlocked.Increment(ref _asked);
        reason = WhyNot;
        return reason.Length == 0;
    }

    public ConcurrentQueue<NodeId> NotReached { get; } = new();

    public void Unreachable(NodeId peer) => NotReached.Enqueue(peer);

    public Task<RegisterResponse> RegisterAsync(PeerHello from, CancellationToken cancellationToken) =>
        Task.FromResult(new RegisterResponse { Refusal = from.Name });

    public Task<ChangeMetadataResponse> ChangeMetadataAsync(
        ReadOnlyMemory<byte> command, CancellationToken cancellationToken) =>
        Task.FromResult(new ChangeMetadataResponse { BaseOffset = command.Length });

    public Task<ReadIndexResponse> ReadIndexAsync(GroupId group, CancellationToken cancellationToken) =>
        Task.FromResult(new ReadIndexResponse { Index = group.Value });

    public void RefusedBy(NodeId peer, string reason) => Refusals.Enqueue((peer, reason));

    public void Received(IReadOnlyList<PeerMessage> messages)
    {
        Hears.Wait(TestContext.Current.CancellationToken);
        Envelopes.Enqueue(messages.Count);
        foreach (var message in messages)
        {
            Messages.Enqueue(message);
        }
    }

    public void Connected(NodeId peer, PeerHello hello) => Interlocked.Increment(ref _connected);

    public void Disconnected(NodeId peer) => Interlocked.Increment(ref _disconnected);

    public DescribeReplicasResponse DescribeReplicas() => new();

    /// <summary>Groups below ten exist.</summary>
    public Term? TermOf(GroupId group) => group.Value < 10 ? new Term(Term) : null;

    public void SnapshotReceived(PeerMessage message, ReadOnlyMemory<byte> data, Action<bool, long> done)
    {
        Snapshots.Enqueue((message, data.ToArray()));
        var (installed, term) = Install(message);
        done(installed, term);
    }

    public IEntrySource? FindEntries(GroupId group) => Log ?? Sources.GetValueOrDefault(group.Value);
}
