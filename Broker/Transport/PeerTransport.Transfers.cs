using Broker.Domain;
using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Transport;

/// <summary>
/// What is large goes beside the streams, on connections of its own, so that it never delays a heartbeat.
/// </summary>
public sealed partial class PeerTransport
{
    /// <summary>
    /// Gives a follower the snapshot that the message (of kind InstallSnapshot) names. done is called once, from any
    /// thread: true when the follower has it durably in use. The data must not change before.
    /// </summary>
    public void SendSnapshot(
        NodeId to, GroupId group, PeerMessage message, ReadOnlyMemory<byte> data, Action<bool> done)
    {
        Invariant.Check(message.Group == (uint)group.Value, "a snapshot belongs to its message's group");
        if (!_links.TryGetValue(to, out var link))
        {
            done(false);
            return;
        }

        _ = Task.Run(async () =>
        {
            var isInstalled = false;
            try
            {
                isInstalled = await SnapshotSender.SendAsync(link.Peer, message, data);
            }
            finally
            {
                // Whatever went wrong: the group waits for this before it tries again.
                done(isInstalled);
            }
        });
    }

    /// <summary>So many bytes go to a new node on its stream: for how long no more should.</summary>
    public TimeSpan ChargeCopy(long bytes) => _throttle.Charge(bytes);

    /// <summary>
    /// The committed entries first to last of a group, in order and each with an intact body. lastTerm, the term of the
    /// last one, fixes their content (log matching, Raft thesis 3.5). With orLater they begin with the first that the
    /// peer keeps: what it has dropped nobody wants any more.
    /// </summary>
    /// <exception cref="RpcException">The peer is away, or has not got them; ask another one.</exception>
    public IAsyncEnumerable<LogEntry> FetchEntriesAsync(
        NodeId peer,
        GroupId group,
        LogIndex first,
        LogIndex last,
        Term lastTerm,
        bool orLater,
        CancellationToken cancellationToken) =>
        _links.TryGetValue(peer, out var link)
            ? _entryFetcher.FetchAsync(
                link.Peer, group, first, new LogPosition(last, lastTerm), orLater, cancellationToken)
            : throw PeerTransfer.Refuse(StatusCode.NotFound, $"Node {peer} is not one of this cluster's nodes.");

    /// <summary>What the replicas of a peer have and lack.</summary>
    /// <exception cref="RpcException">The peer is away, or does not know this node.</exception>
    public async Task<DescribeReplicasResponse> DescribeReplicasAsync(NodeId peer, CancellationToken cancellationToken)
    {
        using var channel = PeerChannel.Open(_links[peer].Peer.Address);
        return await new Peer.PeerClient(channel).DescribeReplicasAsync(
            new DescribeReplicasRequest { From = _gate.Hello }, cancellationToken: cancellationToken);
    }

    internal DescribeReplicasResponse DescribeReplicas(DescribeReplicasRequest request)
    {
        Admit(request.From ?? new PeerHello());
        return _gate.DescribeReplicas();
    }

    /// <summary>Serves a leader that gives this node a snapshot.</summary>
    internal async Task ReceiveSnapshotAsync(
        IAsyncStreamReader<InstallSnapshotRequest> reader,
        IServerStreamWriter<InstallSnapshotResponse> writer,
        CancellationToken callEnded)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(callEnded, _stopping.Token);
        try
        {
            await _snapshotReceiver.ReceiveAsync(reader, writer, ended.Token);
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            throw PeerTransfer.Refuse(StatusCode.Unavailable, "This node stops.");
        }
    }

    /// <summary>Serves a peer that repairs its log.</summary>
    internal async Task ServeEntriesAsync(
        FetchEntriesRequest request, IServerStreamWriter<EntriesChunk> writer, CancellationToken callEnded)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(callEnded, _stopping.Token);
        try
        {
            await _entryServer.ServeAsync(request, writer, ended.Token);
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            throw PeerTransfer.Refuse(StatusCode.Unavailable, "This node stops.");
        }
    }
}
