using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Tests.Unit.GrpcCalls;
using Grpc.Core;
using Xunit;

namespace Broker.Tests.Unit.PeerStreams;

/// <summary>Node 1 fetches entries of group 3 from node 2, which has 11 to 110, of 100 KB each.</summary>
public sealed class FetchEntriesTests
{
    private static readonly GroupId Group = new(3);

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(11, 110)]
    [InlineData(12, 12)]
    [InlineData(40, 90)]
    public async Task Entries_arrive_in_order_and_as_they_are(int first, int last)
    {
        await using var nodes = await StartAsync();
        var source = nodes.Gates[1].Sources[3];

        var entries = await FetchAsync(nodes, first, last);

        Assert.Equal(Enumerable.Range(first, last - first + 1), entries.Select(each => (int)each.Index.Value));
        Assert.All(entries, each =>
        {
            var expected = source.At(each.Index);
            Assert.Equal(
                (expected.Term, expected.Kind, expected.Count, expected.TimestampUnixMs, expected.BodyCrc32C),
                (each.Term, each.Kind, each.Count, each.TimestampUnixMs, each.BodyCrc32C));
            Assert.True(each.BodyIsIntact());
        });
    }

    [Fact]
    public async Task A_fetch_that_breaks_goes_on_at_its_next_entry()
    {
        await using var nodes = await StartAsync();
        var sent = 0;
        nodes.Services[1].OnEntries = chunk => Interlocked.Increment(ref sent) == 4
            ? throw new RpcException(new Status(StatusCode.Unavailable, "The peer is gone."))
            : chunk;

        var entries = await FetchAsync(nodes, 11, 110);

        Assert.Equal(100, entries.Count);
        var fetches = nodes.Services[1].Fetches.Select(each => each.FirstIndex).ToList();
        Assert.Equal(2, fetches.Count);
        Assert.Equal(11 + (3 * 10), fetches[1]);
    }

    [Fact]
    public async Task A_connection_that_is_reset_does_not_end_the_fetch()
    {
        await using var nodes = await StartAsync();
        var entries = new List<LogEntry>();
        await foreach (var entry in Fetch(nodes, 11, 110))
        {
            entries.Add(entry);
            if (entries.Count is 15 or 55)
            {
                nodes.CutOff(2);
            }
        }

        Assert.Equal(Enumerable.Range(11, 100), entries.Select(each => (int)each.Index.Value));
    }

    [Fact]
    public async Task An_entry_that_is_damaged_on_its_way_is_asked_for_again()
    {
        await using var nodes = await StartAsync();
        var damages = 1;
        nodes.Services[1].OnEntries = chunk =>
        {
            if (chunk.Entries.Any(each => each.Index == 35) && Interlocked.Decrement(ref damages) == 0)
            {
                chunk.Entries.Single(each => each.Index == 35).BodyCrc32C++;
            }

            return chunk;
        };

        Assert.All(await FetchAsync(nodes, 11, 110), each => Assert.True(each.BodyIsIntact()));
        Assert.Equal([11, 35], nodes.Services[1].Fetches.Select(each => each.FirstIndex));
    }

    [Fact]
    public async Task A_peer_that_sends_other_entries_is_given_up_after_a_bounded_number_of_attempts()
    {
        await using var nodes = await StartAsync();
        nodes.Services[1].OnEntries = chunk =>
        {
            chunk.Entries.RemoveAt(0);
            return chunk;
        };

        var failure = await EchoServer.FailureAsync(FetchAsync(nodes, 11, 20));
        Assert.Equal(StatusCode.Internal, failure.StatusCode);
        Assert.Equal(Limits.TransferAttempts, nodes.Services[1].Fetches.Count);
    }

    [Theory]
    [InlineData(10, 50, 1, StatusCode.NotFound)]
    [InlineData(11, 111, 3, StatusCode.NotFound)]
    [InlineData(11, 110, 2, StatusCode.FailedPrecondition)]
    [InlineData(11, 10, 1, StatusCode.InvalidArgument)]
    [InlineData(0, 10, 1, StatusCode.InvalidArgument)]
    public async Task What_the_peer_has_not_is_refused_at_once(int first, int last, int lastTerm, StatusCode expected)
    {
        await using var nodes = await StartAsync();
        using var call = nodes.Dial(2).FetchEntries(
            new FetchEntriesRequest
            {
                From = nodes.Gates[0].Hello,
                Group = 3,
                FirstIndex = first,
                LastIndex = last,
                LastTerm = lastTerm,
            },
            cancellationToken: Stop);

        var failure = await EchoServer.FailureAsync(call.ResponseStream.MoveNext(Stop));
        Assert.Equal(expected, failure.StatusCode);
    }

    [Fact]
    public async Task Entries_that_are_not_committed_yet_are_not_given()
    {
        await using var nodes = await StartAsync();
        nodes.Gates[1].Sources[3].CommittedIndex = new LogIndex(60);

        Assert.Equal(StatusCode.NotFound, (await EchoServer.FailureAsync(FetchAsync(nodes, 11, 61))).StatusCode);
        Assert.Equal(50, (await FetchAsync(nodes, 11, 60, lastTerm: 1)).Count);
    }

    [Fact]
    public async Task A_group_that_the_peer_has_not_is_NOT_FOUND_and_a_stranger_is_refused()
    {
        await using var nodes = await StartAsync();
        nodes.Gates[1].Sources.Clear();
        Assert.Equal(StatusCode.NotFound, (await EchoServer.FailureAsync(FetchAsync(nodes, 11, 12))).StatusCode);

        nodes.Gates[1].WhyNot = "Another cluster.";
        Assert.Equal(
            StatusCode.FailedPrecondition, (await EchoServer.FailureAsync(FetchAsync(nodes, 11, 12))).StatusCode);
    }

    [Fact]
    public async Task Entries_that_are_damaged_at_the_peer_too_are_DATA_LOSS_and_not_asked_for_again()
    {
        await using var nodes = await StartAsync();
        nodes.Gates[1].Sources[3].OnRead = static () => throw new IOException("Bad checksum.");

        Assert.Equal(StatusCode.DataLoss, (await EchoServer.FailureAsync(FetchAsync(nodes, 11, 110))).StatusCode);
        Assert.Single(nodes.Services[1].Fetches);
    }

    [Fact]
    public async Task A_node_serves_a_few_fetches_at_once_and_others_later()
    {
        await using var nodes = await StartAsync();
        using var release = new ManualResetEventSlim();
        var reading = 0;
        nodes.Gates[1].Sources[3].OnRead = () =>
        {
            Interlocked.Increment(ref reading);
            release.Wait(EchoServer.Patience, Stop);
        };
        var held = Enumerable.Range(0, Limits.FetchesAtOnce)
            .Select(_ => FetchAsync(nodes, 11, 20, lastTerm: 1)).ToList();
        await EchoServer.UntilAsync(() => Volatile.Read(ref reading) == Limits.FetchesAtOnce, "all slots are taken");

        using var call = nodes.Dial(2).FetchEntries(
            new FetchEntriesRequest
            {
                From = nodes.Gates[0].Hello,
                Group = 3,
                FirstIndex = 11,
                LastIndex = 20,
                LastTerm = 1,
            },
            cancellationToken: Stop);
        var failure = await EchoServer.FailureAsync(call.ResponseStream.MoveNext(Stop));
        Assert.Equal(StatusCode.ResourceExhausted, failure.StatusCode);

        var patient = FetchAsync(nodes, 11, 20, lastTerm: 1);
        release.Set();
        Assert.All(await Task.WhenAll([.. held, patient]), entries => Assert.Equal(10, entries.Count));
    }

    [Fact]
    public async Task Entries_that_the_peer_has_dropped_are_left_out_where_that_is_asked_for()
    {
        await using var nodes = await StartAsync();
        var refusal = await Assert.ThrowsAsync<RpcException>(async () => await FetchAsync(nodes, 5, 20));
        Assert.Equal(StatusCode.NotFound, refusal.StatusCode);
        var entries = await Fetch(nodes, 5, 20, orLater: true).ToListAsync(Stop);
        Assert.Equal(Enumerable.Range(11, 10), entries.Select(static entry => (int)entry.Index.Value));
        refusal = await Assert.ThrowsAsync<RpcException>(
            async () => await Fetch(nodes, 5, 10, orLater: true).ToListAsync(Stop));
        Assert.Equal(StatusCode.NotFound, refusal.StatusCode);
    }

    private static async Task<TestNodes> StartAsync()
    {
        var nodes = await TestNodes.StartAsync(2);
        nodes.Gates[1].Sources[3] = new TestEntries(first: 11, count: 100, bodyBytes: 100_000);
        return nodes;
    }

    private static IAsyncEnumerable<LogEntry> Fetch(
        TestNodes nodes, int first, int last, int? lastTerm = null, bool orLater = false) =>
        nodes.Transports[0].FetchEntriesAsync(
            new NodeId(2),
            Group,
            new LogIndex(first),
            new LogIndex(last),
            new Term(lastTerm ?? (last < 61 ? 1 : 3)),
            orLater,
            Stop);

    private static async Task<List<LogEntry>> FetchAsync(TestNodes nodes, int first, int last, int? lastTerm = null) =>
        await Fetch(nodes, first, last, lastTerm).ToListAsync(Stop);
}
