using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Tests.Unit.GrpcCalls;
using Broker.Transport;
using Google.Protobuf;
using Grpc.Core;
using Xunit;

namespace Broker.Tests.Unit.PeerStreams;

/// <summary>A leader (node 1) gives a follower (node 2) a snapshot.</summary>
public sealed class SnapshotTransferTests
{
    private static readonly NodeId Two = new(2);

    private static readonly byte[] Data = MakeData(3_500_000);

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(Limits.TransferChunkBytes)]
    [InlineData(3_500_000)]
    public async Task A_snapshot_arrives_whole_and_is_installed(int sizeBytes)
    {
        await using var nodes = await TestNodes.StartAsync(2);
        var data = MakeData(sizeBytes);
        var message = Message();

        Assert.True(await SendAsync(nodes, message, data));

        var (arrived, bytes) = Assert.Single(nodes.Gates[1].Snapshots);
        Assert.Equal(message, arrived);
        Assert.Equal(data, bytes);
        Assert.Equal(0, Inbox(nodes, 2).ReservedBytes);
    }

    [Fact]
    public async Task A_transfer_that_breaks_in_the_middle_goes_on_there()
    {
        await using var nodes = await TestNodes.StartAsync(2);
        var breaks = 1;
        nodes.Services[1].OnSnapshotRequest = request =>
            request.Chunk is { Offset: > 2_000_000 } && Interlocked.Decrement(ref breaks) == 0
                ? throw new RpcException(new Status(StatusCode.Unavailable, "The follower is gone."))
                : request;

        Assert.True(await SendAsync(nodes, Message(), Data));

        Assert.Equal(Data, Assert.Single(nodes.Gates[1].Snapshots).Data);
        var requests = nodes.Services[1].SnapshotRequests.ToList();
        Assert.Equal(2, requests.Count(each => each.Offer is not null));
        Assert.Equal(Data.Length, requests.Sum(each => each.Chunk?.Data.Length ?? 0));
    }

    [Fact]
    public async Task A_connection_that_is_reset_in_the_middle_costs_little_more_than_a_chunk()
    {
        await using var nodes = await TestNodes.StartAsync(2);
        var cuts = 2;
        nodes.Services[1].OnSnapshotRequest = request =>
        {
            if (request.Chunk is { Offset: > 1_000_000 } && Interlocked.Decrement(ref cuts) >= 0)
            {
                nodes.CutOff(2);
            }

            return request;
        };

        Assert.True(await SendAsync(nodes, Message(), Data));

        Assert.Equal(Data, nodes.Gates[1].Snapshots.Last().Data);
        var sent = nodes.Services[1].SnapshotRequests.Sum(each => each.Chunk?.Data.Length ?? 0);
        Assert.InRange(sent, Data.Length, Data.Length + (3 * Limits.TransferChunkBytes));
    }

    [Fact]
    public async Task A_chunk_that_is_damaged_on_its_way_is_sent_again()
    {
        await using var nodes = await TestNodes.StartAsync(2);
        var damages = 1;
        nodes.Services[1].OnSnapshotRequest = request =>
        {
            if (request.Chunk is { Offset: > 0 } chunk && Interlocked.Decrement(ref damages) == 0)
            {
                var bytes = chunk.Data.ToByteArray();
                bytes[17] ^= 4;
                chunk.Data = ByteString.CopyFrom(bytes);
            }

            return request;
        };

        Assert.True(await SendAsync(nodes, Message(), Data));
        Assert.Equal(Data, Assert.Single(nodes.Gates[1].Snapshots).Data);
    }

    [Fact]
    public async Task A_snapshot_whose_checksum_does_not_fit_is_lost_data_and_begins_anew()
    {
        await using var nodes = await TestNodes.StartAsync(2);
        var offer = Offer(Message(), [1, 2, 3]);
        offer.DataCrc32C++;
        using (var call = await OfferAsync(nodes, offer, expectedBegin: 0))
        {
            await GiveAsync(call, Chunk(0, [1, 2, 3]));
            Assert.Equal(StatusCode.DataLoss, await EndAsync(call));
        }

        Assert.Empty(nodes.Gates[1].Snapshots);
        using var again = await OfferAsync(nodes, offer, expectedBegin: 0);
    }

    [Fact]
    public async Task A_follower_that_never_gets_intact_data_is_given_up_after_a_bounded_number_of_attempts()
    {
        await using var nodes = await TestNodes.StartAsync(2);
        nodes.Services[1].OnSnapshotRequest = request =>
        {
            if (request.Chunk is { } chunk)
            {
                chunk.DataCrc32C++;
            }

            return request;
        };

        Assert.False(await SendAsync(nodes, Message(), [1, 2, 3]));
        Assert.Equal(
            Limits.TransferAttempts, nodes.Services[1].SnapshotRequests.Count(each => each.Offer is not null));
    }

    [Fact]
    public async Task A_group_that_the_follower_has_not_is_NOT_FOUND()
    {
        await using var nodes = await TestNodes.StartAsync(2);
        var message = Message(group: 77);
        using var call = nodes.Dial(2).InstallSnapshot(cancellationToken: Stop);
        await GiveAsync(call, new InstallSnapshotRequest { Offer = Offer(message, [1]) });

        Assert.Equal(StatusCode.NotFound, await EndAsync(call));
        Assert.False(await SendAsync(nodes, message, [1]));
        Assert.Equal(2, nodes.Services[1].SnapshotRequests.Count);
    }

    [Fact]
    public async Task A_leader_of_an_older_term_is_told_the_newer_one_before_it_sends()
    {
        await using var nodes = await TestNodes.StartAsync(2);
        nodes.Gates[1].Term = 6;
        using var call = nodes.Dial(2).InstallSnapshot(cancellationToken: Stop);
        await GiveAsync(call, new InstallSnapshotRequest { Offer = Offer(Message(), [1]) });

        Assert.True(await call.ResponseStream.MoveNext(Stop));
        Assert.Equal(6, call.ResponseStream.Current.Term);
        Assert.Equal(StatusCode.FailedPrecondition, await EndAsync(call));
        Assert.False(await SendAsync(nodes, Message(), Data));
        Assert.DoesNotContain(nodes.Services[1].SnapshotRequests, each => each.Chunk is not null);
    }

    [Theory]
    [InlineData(6, StatusCode.FailedPrecondition)]
    [InlineData(5, StatusCode.Aborted)]
    public async Task A_snapshot_that_the_group_does_not_install_is_not_sent_again(long term, StatusCode expected)
    {
        await using var nodes = await TestNodes.StartAsync(2);
        nodes.Gates[1].Install = _ => (false, term);
        using var call = await OfferAsync(nodes, Offer(Message(), [1]), expectedBegin: 0);
        await GiveAsync(call, Chunk(0, [1]));

        Assert.Equal(expected, await EndAsync(call));
        Assert.False(await SendAsync(nodes, Message(), Data));
        Assert.Equal(2, nodes.Gates[1].Snapshots.Count);
        Assert.Equal(0, Inbox(nodes, 2).ReservedBytes);
    }

    [Fact]
    public async Task A_node_that_does_not_belong_gives_no_snapshot()
    {
        await using var nodes = await TestNodes.StartAsync(2);
        nodes.Gates[1].WhyNot = "Another cluster.";

        Assert.False(await SendAsync(nodes, Message(), Data));
        Assert.Single(nodes.Services[1].SnapshotRequests);
    }

    [Theory]
    [InlineData(1UL, 2)]
    [InlineData(0UL, 4)]
    [InlineData(0UL, 0)]
    public async Task A_gap_or_a_surplus_is_refused(ulong offset, int count)
    {
        await using var nodes = await TestNodes.StartAsync(2);
        using var call = await OfferAsync(nodes, Offer(Message(), [1, 2, 3]), expectedBegin: 0);
        await GiveAsync(call, Chunk(offset, new byte[count]));

        Assert.Equal(StatusCode.InvalidArgument, await EndAsync(call));
    }

    [Fact]
    public async Task An_offer_beyond_the_limit_and_a_first_request_that_is_none_are_refused()
    {
        await using var nodes = await TestNodes.StartAsync(2);
        var large = Offer(Message(), [1]);
        large.SizeBytes = Limits.SnapshotBytes + 1UL;
        var otherKind = Offer(Message(), [1]);
        otherKind.Message.Kind = 1;
        InstallSnapshotRequest[] requests =
            [new() { Offer = large }, new() { Offer = otherKind }, Chunk(0, [1]), new() { Offer = new() }];

        foreach (var request in requests)
        {
            using var call = nodes.Dial(2).InstallSnapshot(cancellationToken: Stop);
            await GiveAsync(call, request);
            Assert.Equal(StatusCode.InvalidArgument, await EndAsync(call));
        }
    }

    [Theory]
    [InlineData(6, 100)]
    [InlineData(5, 101)]
    public async Task A_newer_offer_ends_the_older_one_and_never_the_other_way_round(long term, long index)
    {
        await using var nodes = await TestNodes.StartAsync(2);
        using var older = await OfferAsync(nodes, Offer(Message(), [1, 2, 3]), expectedBegin: 0);
        await GiveAsync(older, Chunk(0, [1]));
        using var newer = await OfferAsync(nodes, Offer(Message(term: term, index: index), [4, 5]), expectedBegin: 0);

        await GiveAsync(older, Chunk(1, [2]));
        Assert.Equal(StatusCode.Aborted, await EndAsync(older));

        using var late = nodes.Dial(2).InstallSnapshot(cancellationToken: Stop);
        await GiveAsync(late, new InstallSnapshotRequest { Offer = Offer(Message(), [1, 2, 3]) });
        Assert.Equal(StatusCode.Aborted, await EndAsync(late));

        await GiveAsync(newer, Chunk(0, [4, 5]));
        Assert.True(await newer.ResponseStream.MoveNext(Stop));
        Assert.True(newer.ResponseStream.Current.Installed);
    }

    [Fact]
    public async Task The_next_leader_goes_on_with_the_same_data()
    {
        await using var nodes = await TestNodes.StartAsync(2);
        using (var first = await OfferAsync(nodes, Offer(Message(), [1, 2, 3]), expectedBegin: 0))
        {
            await GiveAsync(first, Chunk(0, [1, 2]));
            await EchoServer.UntilAsync(() => nodes.Services[1].SnapshotRequests.Count == 2, "the chunk arrives");
        }

        using var second = await OfferAsync(nodes, Offer(Message(term: 6), [1, 2, 3]), expectedBegin: 2);
        await GiveAsync(second, Chunk(2, [3]));
        Assert.True(await second.ResponseStream.MoveNext(Stop));
        Assert.True(second.ResponseStream.Current.Installed);
        Assert.Equal(6, Assert.Single(nodes.Gates[1].Snapshots).Message.Term);
    }

    [Fact]
    public async Task A_second_transfer_to_the_same_follower_takes_the_place_of_the_first()
    {
        await using var nodes = await TestNodes.StartAsync(2);
        var reached = new TaskCompletionSource();
        nodes.Gates[1].Install = message =>
        {
            reached.TrySetResult();
            return (true, message.Term);
        };
        var hold = new ManualResetEventSlim();
        nodes.Services[1].OnSnapshotRequest = request =>
        {
            if (request.Offer is { Message.LogIndex: 10 })
            {
                hold.Wait(EchoServer.Patience, Stop);
            }

            return request;
        };

        var first = SendAsync(nodes, Message(index: 10), Data);
        await EchoServer.UntilAsync(() => Sender(nodes, 1).RunningCount == 1, "the first transfer runs");
        var second = SendAsync(nodes, Message(index: 20), Data);

        Assert.False(await first);
        hold.Set();
        Assert.True(await second);
        Assert.Equal(20, Assert.Single(nodes.Gates[1].Snapshots).Message.LogIndex);
    }

    [Fact]
    public async Task A_leader_that_missed_the_answer_gets_it_without_sending_again()
    {
        await using var nodes = await TestNodes.StartAsync(2);
        Assert.True(await SendAsync(nodes, Message(), Data));
        Assert.True(await SendAsync(nodes, Message(), Data));

        Assert.Single(nodes.Gates[1].Snapshots);
        Assert.Equal(Data.Length, nodes.Services[1].SnapshotRequests.Sum(each => each.Chunk?.Data.Length ?? 0));
    }

    [Fact]
    public void Arrivals_are_bounded_in_memory_and_forgotten_in_time()
    {
        var time = new ManualTime();
        using var inbox = new SnapshotInbox(time);
        var (large, small) = (Offer(Message(group: 1), []), Offer(Message(group: 2), [1]));
        large.SizeBytes = Limits.SnapshotBytes;
        var arrival = inbox.Open(large, this);

        var refusal = Assert.Throws<RpcException>(() => inbox.Open(small, this));
        Assert.Equal(StatusCode.ResourceExhausted, refusal.StatusCode);

        // Another offer for the same group takes its place and its room.
        inbox.Open(Offer(Message(group: 1), [1, 2]), this);
        inbox.Open(small, this);
        Assert.Equal(3, inbox.ReservedBytes);
        Assert.Throws<RpcException>(() => inbox.Append(arrival, this, Chunk(0, [1]).Chunk));

        time.Advance(SnapshotInbox.KeepTime / 2);
        var kept = inbox.Open(small, this);
        inbox.Append(kept, this, Chunk(0, [1]).Chunk);
        time.Advance(SnapshotInbox.KeepTime * 0.9);
        Assert.Equal(1, inbox.ReservedBytes);
        time.Advance(SnapshotInbox.KeepTime);
        Assert.Equal(0, inbox.ReservedBytes);
    }

    [Fact]
    public async Task A_transfer_does_not_delay_heartbeats()
    {
        await using var nodes = await TestNodes.StartAsync(2);
        await nodes.ConnectAsync();
        var transfer = SendAsync(nodes, Message(), MakeData(24 * 1024 * 1024));
        var beats = 0;
        while (!transfer.IsCompleted && beats < 10)
        {
            nodes.Transports[0].Send(Two, PeerOutboxTests.Heartbeat(1, commit: ++beats));
            nodes.Transports[0].Flush();
            var expected = beats;
            await EchoServer.UntilAsync(() => nodes.Gates[1].Messages.Count == expected, $"heartbeat {beats}");
        }

        Assert.False(transfer.IsCompleted);
        Assert.True(await transfer);
    }

    private static byte[] MakeData(int sizeBytes)
    {
        var data = new byte[sizeBytes];
        new Random(1).NextBytes(data);
        return data;
    }

    private static PeerMessage Message(int group = 3, long term = 5, long index = 100) => new()
    {
        Group = (uint)group,
        Kind = PeerHeartbeats.InstallSnapshotKind,
        From = 1,
        To = 2,
        Term = term,
        LogIndex = index,
        LogTerm = 4,
        LearnerSince = 12,
        ConfigurationIndex = 9,
        Configuration = ByteString.CopyFrom(new GroupConfiguration(new LogIndex(9), [Two], []).Encode()),
    };

    private static SnapshotOffer Offer(PeerMessage message, byte[] data) => new()
    {
        From = new PeerHello { ProtocolVersion = 2, NodeId = 1, Name = "broker-1" },
        Message = message,
        SizeBytes = (ulong)data.Length,
        DataCrc32C = Crc32C.Compute(data),
    };

    private static InstallSnapshotRequest Chunk(ulong offset, byte[] data) => new()
    {
        Chunk = new SnapshotChunk
        {
            Offset = offset,
            Data = ByteString.CopyFrom(data),
            DataCrc32C = Crc32C.Compute(data),
        },
    };

    private static Task<bool> SendAsync(TestNodes nodes, PeerMessage message, byte[] data)
    {
        var done = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
        nodes.Transports[0].SendSnapshot(
            Two, new GroupId((int)message.Group), message, data, sent => done.SetResult(sent));
        return done.Task.WaitAsync(EchoServer.Patience, Stop);
    }

    /// <summary>Offers by hand, and reads where the follower wants it to begin.</summary>
    private static async Task<AsyncDuplexStreamingCall<InstallSnapshotRequest, InstallSnapshotResponse>> OfferAsync(
        TestNodes nodes, SnapshotOffer offer, ulong expectedBegin)
    {
        var call = nodes.Dial(2).InstallSnapshot(cancellationToken: Stop);
        await call.RequestStream.WriteAsync(new InstallSnapshotRequest { Offer = offer }, Stop);
        Assert.True(await call.ResponseStream.MoveNext(Stop));
        Assert.Equal((expectedBegin, false), (call.ResponseStream.Current.ReceivedBytes,
            call.ResponseStream.Current.Installed));
        return call;
    }

    /// <summary>
    /// The follower may end the call on this request, before the write has returned; what counts is its answer.
    /// </summary>
    private static async Task GiveAsync(
        AsyncDuplexStreamingCall<InstallSnapshotRequest, InstallSnapshotResponse> call,
        InstallSnapshotRequest request) =>
        await Xunit.Record.ExceptionAsync(() => call.RequestStream.WriteAsync(request, Stop));

    private static async Task<StatusCode> EndAsync(
        AsyncDuplexStreamingCall<InstallSnapshotRequest, InstallSnapshotResponse> call) =>
        (await EchoServer.FailureAsync(call.ResponseStream.MoveNext(Stop))).StatusCode;

    private static SnapshotInbox Inbox(TestNodes nodes, int node) => nodes.Transports[node - 1].SnapshotInbox;

    private static SnapshotSender Sender(TestNodes nodes, int node) => nodes.Transports[node - 1].SnapshotSender;
}
