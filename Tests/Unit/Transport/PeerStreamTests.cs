using System.Diagnostics;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Tests.Unit.GrpcCalls;
using Broker.Transport;
using Xunit;

namespace Broker.Tests.Unit.PeerStreams;

/// <summary>Streams between real transports over loopback.</summary>
public sealed class PeerStreamTests
{
    private static readonly NodeId One = new(1);
    private static readonly NodeId Two = new(2);
    private static readonly NodeId Three = new(3);

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Messages_and_heartbeats_arrive_as_they_were_sent_in_both_directions()
    {
        await using var nodes = await TestNodes.StartAsync(2);
        await nodes.ConnectAsync();
        var heartbeat = PeerOutboxTests.Heartbeat(3, commit: 7, context: 9);
        var append = PeerOutboxTests.Append(4, 100);
        var answer = PeerOutboxTests.Answer(3, match: 6);
        (answer.From, answer.To, answer.Lost) = (2, 1, true);

        nodes.Transports[0].Send(Two, heartbeat);
        nodes.Transports[0].Send(Two, append);
        nodes.Transports[1].Send(One, answer);
        nodes.Transports[0].Flush();
        nodes.Transports[1].Flush();

        await EchoServer.UntilAsync(() => nodes.Gates[1].Messages.Count == 2, "both arrive");
        await EchoServer.UntilAsync(() => nodes.Gates[0].Messages.Count == 1, "the answer arrives");
        Assert.Contains(heartbeat, nodes.Gates[1].Messages);
        Assert.Contains(append, nodes.Gates[1].Messages);
        Assert.Contains(answer, nodes.Gates[0].Messages);
    }

    [Fact]
    public async Task Heartbeats_of_a_thousand_groups_are_a_handful_of_envelopes()
    {
        await using var nodes = await TestNodes.StartAsync(2);
        await nodes.ConnectAsync();
        for (uint group = 0; group < 1_000; group++)
        {
            nodes.Transports[0].Send(Two, PeerOutboxTests.Heartbeat(group, commit: 50_000_000));
        }

        nodes.Transports[0].Flush();

        await EchoServer.UntilAsync(() => nodes.Gates[1].Messages.Count == 1_000, "all heartbeats arrive");
        Assert.InRange(nodes.Gates[1].Envelopes.Count(static messages => messages > 0), 1, 10);
        Assert.Equal(1_000, nodes.Gates[1].Messages.Select(each => each.Group).Distinct().Count());
    }

    [Fact]
    public async Task A_peer_that_does_not_read_holds_back_nobody_and_costs_bounded_memory()
    {
        await using var nodes = await TestNodes.StartAsync(3);
        nodes.Gates[1].Hears.Reset();
        await nodes.ConnectAsync();
        var watch = Stopwatch.StartNew();
        for (var index = 1; index <= 100; index++)
        {
            nodes.Transports[0].Send(Two, PeerOutboxTests.Append(index, 1024 * 1024));
        }

        Assert.InRange(watch.ElapsedMilliseconds, 0, 5_000);
        for (var index = 1; index <= 40; index++)
        {
            nodes.Transports[0].Send(Three, PeerOutboxTests.Append(index, 1024 * 1024));
        }

        await EchoServer.UntilAsync(() => nodes.Gates[2].Messages.Count == 40, "the fast peer has all");
        Assert.Equal(Enumerable.Range(1, 40), nodes.Gates[2].Messages.Select(each => (int)each.LogIndex));
        Assert.Empty(nodes.Gates[1].Messages);
    }

    [Fact]
    public async Task A_broken_stream_is_dialled_again_and_both_sides_hear_of_it()
    {
        await using var nodes = await TestNodes.StartAsync(2);
        await nodes.ConnectAsync();
        for (var round = 1; round <= 3; round++)
        {
            nodes.CutOff(2);
            var times = round;
            await EchoServer.UntilAsync(
                () => nodes.Gates.All(gate => gate.DisconnectedCount == times && gate.ConnectedCount == times + 1),
                $"round {round}");
        }

        await EchoServer.UntilAsync(() => nodes.Transports[1].IsConnected(One), "the accepting side is connected");
        nodes.Transports[1].Send(One, PeerOutboxTests.Append(1, 10));
        await EchoServer.UntilAsync(() => nodes.Gates[0].Messages.Count == 1, "messages flow again");
    }

    [Fact]
    public async Task A_peer_that_drops_each_stream_at_once_is_not_dialled_in_a_tight_loop()
    {
        await using var nodes = await TestNodes.StartAsync(2);
        nodes.Gates[1].WhyNot = "Speaks another version.";
        nodes.Transports[0].Start();
        var watch = Stopwatch.StartNew();
        await EchoServer.UntilAsync(() => nodes.Gates[1].AskedCount == 6, "the peer is dialled again");

        // 20 + 40 + 80 + 160 + 320 ms, of which half is chance.
        Assert.InRange(watch.ElapsedMilliseconds, 310, 20_000);
        Assert.False(nodes.Transports[0].IsConnected(Two));
    }

    [Fact]
    public async Task A_node_that_does_not_belong_is_told_why()
    {
        await using var nodes = await TestNodes.StartAsync(2);
        nodes.Gates[1].WhyNot = "Speaks version 1 of the peer protocol.";
        using var connection = nodes.DialRaw(2);
        connection.Write(PeerFrame.Preamble, EchoServer.Patience);
        connection.Write(PeerFrameKind.Hello, nodes.Gates[0].Hello, EchoServer.Patience);

        Assert.True(connection.TryRead(EchoServer.Patience, null, out var kind, out var payload));
        Assert.Equal(PeerFrameKind.Refusal, kind);
        var refusal = PeerRefusal.Parser.ParseFrom(payload);
        Assert.Equal("Speaks version 1 of the peer protocol.", refusal.Reason);
        Assert.True(refusal.DoesNotBelong);
        Assert.False(connection.TryRead(EchoServer.Patience, null, out _, out _));
    }

    [Theory]
    [InlineData("GET / HTTP/1.1\r\n\r\n")]
    [InlineData("BrkPeer?and so on, and so on")]
    [InlineData("BrkPeer\nno frame at all, but more than a header")]
    [InlineData("Brk")]
    [InlineData("\0\0\0\0\0\0\0\0")]
    public async Task Garbage_ends_its_own_connection_and_harms_nobody(string garbage)
    {
        await using var nodes = await TestNodes.StartAsync(2);
        await nodes.ConnectAsync();
        using (var connection = nodes.DialRaw(2))
        {
            connection.Write(System.Text.Encoding.Latin1.GetBytes(garbage), EchoServer.Patience);
            Assert.True(IsEnded(connection));
        }

        nodes.Transports[0].Send(Two, PeerOutboxTests.Append(1, 10));
        nodes.Transports[0].Flush();
        await EchoServer.UntilAsync(() => nodes.Gates[1].Messages.Count == 1, "peers talk as before");
        Assert.Equal((1, 0), (nodes.Gates[1].ConnectedCount, nodes.Gates[1].DisconnectedCount));
    }

    /// <summary>The other end ends it; what it says before does not matter.</summary>
    private static bool IsEnded(PeerConnection connection)
    {
        try
        {
            while (connection.TryRead(EchoServer.Patience, null, out _, out _))
            {
            }

            return true;
        }
        catch (IOException reason)
        {
            return !reason.Message.StartsWith("Nothing came", StringComparison.Ordinal);
        }
    }
}
