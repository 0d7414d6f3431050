using System.Text;
using Broker.Protocol.V1;
using Broker.Transport;
using Grpc.Core;
using Grpc.Net.Client;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>What is said to the peers' port of real brokers by somebody who is no peer, or a bad one.</summary>
public sealed class PeersPortTests : IAsyncLifetime
{
    private const string Topic = "peers-port";

    private readonly KilledBrokers _brokers = new();
    private int _published;

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    // Until a node knows the id of its cluster, it knows its peers by their disks alone.
    public async ValueTask InitializeAsync()
    {
        await _brokers.FormAsync();
        await Eventually.HoldsAsync(
            async () => (await Task.WhenAll(Enumerable.Range(1, 3).Select(_brokers.HelloOfAsync)))
                .All(static hello => hello.ClusterId.Length > 0),
            () => "all nodes know their cluster");
    }

    public ValueTask DisposeAsync() => _brokers.DisposeAsync();

    [Fact]
    public async Task Garbage_is_refused_with_a_line_in_the_log_and_harms_nobody()
    {
        string[] garbage =
        [
            "", "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", "BrkPeer\nthis is no frame, and longer than a header",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nand then nothing of the kind", "\0\0\0\0\u00ff\u00ff\u00ff\u00ff",
        ];
        for (var round = 0; round < 40; round++)
        {
            using var connection = _brokers.Dial(KilledBrokers.TopicLeader);
            connection.Write(Encoding.Latin1.GetBytes(garbage[round % garbage.Length]), KilledBrokers.Patience);
        }

        await _brokers.SaysAsync(KilledBrokers.TopicLeader, "is no peer, or broke off");
        await AssertWorksAsync();
    }

    [Fact]
    public async Task More_connections_than_the_door_has_room_for_keep_no_peer_out_for_long()
    {
        var idle = Enumerable.Range(0, 200).Select(_ => _brokers.Dial(2)).ToList();
        await _brokers.KillAsync(1);
        _brokers.Start(1);
        await _brokers.BecomesHealthyAsync(1, 2, 3);
        idle.ForEach(static connection => connection.Dispose());
        await AssertWorksAsync();
    }

    [Fact]
    public async Task Another_clusters_node_and_another_release_are_told_why_they_are_refused()
    {
        var hello = await _brokers.HelloOfAsync(1);
        var other = hello.Clone();
        other.ClusterId = $"{Guid.NewGuid():N}";
        var refusal = _brokers.Refused(2, other);
        Assert.True(refusal.DoesNotBelong);
        Assert.Contains("belongs to cluster", refusal.Reason, StringComparison.Ordinal);
        await _brokers.SaysAsync(2, $"belongs to cluster {other.ClusterId}");

        var older = hello.Clone();
        older.ProtocolVersion = 3;
        Assert.Contains("speaks version 3", _brokers.Refused(2, older).Reason, StringComparison.Ordinal);

        var unknown = hello.Clone();
        (unknown.NodeId, unknown.Name) = (9, "broker-9");
        Assert.Contains(
            "is not one of this cluster's nodes", _brokers.Refused(2, unknown).Reason, StringComparison.Ordinal);

        var disk = hello.Clone();
        disk.StoreId = $"{Guid.NewGuid():N}";
        Assert.Contains("another disk", _brokers.Refused(2, disk).Reason, StringComparison.Ordinal);
        await AssertWorksAsync();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_peer_that_dies_within_a_frame_or_garbles_one_is_one_that_comes_back(bool garbles)
    {
        var hello = await _brokers.HelloOfAsync(1);
        for (var round = 0; round < 3; round++)
        {
            // As node 1, whose own connection ends when this one comes.
            using (var connection = _brokers.Dial(2))
            {
                connection.Write(PeerFrame.Preamble, KilledBrokers.Patience);
                connection.Write(PeerFrameKind.Hello, hello, KilledBrokers.Patience);
                Assert.True(connection.TryRead(KilledBrokers.Patience, null, out var kind, out _));
                Assert.Equal(PeerFrameKind.Hello, kind);
                var frame = new byte[1];
                var message = new PeerMessage { Group = 1, Kind = 1, From = 1, To = 2, Term = 1_000_000 };
                var length = PeerFrame.Write(
                    PeerFrameKind.Envelope, new PeerEnvelope { Messages = { message } }, ref frame);
                frame[length - 1] ^= (byte)(garbles ? 1 : 0);
                connection.Write(frame.AsSpan(0, garbles ? length : length - 1), KilledBrokers.Patience);
            }

            await AssertWorksAsync();
        }

        await using var client = _brokers.Connect(2);
        var shards = (await client.DescribeClusterAsync(Test)).Shards;
        Assert.All(shards, static shard => Assert.InRange(shard.Term, 1, 1_000));
    }

    [Fact]
    public async Task The_peers_calls_are_refused_at_the_clients_port()
    {
        using var channel = GrpcChannel.ForAddress(_brokers.GrpcOf(1));
        var refusal = await Assert.ThrowsAsync<RpcException>(async () => await new Peer.PeerClient(channel)
            .InviteAsync(new InviteRequest(), cancellationToken: Test));
        Assert.Equal(StatusCode.FailedPrecondition, refusal.StatusCode);
        Assert.Contains("Broker__PeerPort", refusal.Status.Detail, StringComparison.Ordinal);
        await _brokers.SaysAsync(1, "came from 127.0.0.1 to a port for clients");

        // Where a client is told the leader, it is told of the clients' port.
        await using var client = _brokers.Connect(1);
        var nodes = (await client.DescribeClusterAsync(Test)).Nodes;
        Assert.Equal(
            Enumerable.Range(1, 3).Select(node => $"{_brokers.GrpcOf(node)}".TrimEnd('/')),
            nodes.Select(static node => node.Address));
    }

    private async Task AssertWorksAsync()
    {
        await _brokers.PublishNumbersAsync(Topic, _published, 10);
        _published += 10;
        await _brokers.AssertReadsNumbersAsync(3, Topic, _published);
    }
}
