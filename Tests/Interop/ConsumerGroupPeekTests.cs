using System.Text;
using Broker.Client;
using Broker.Protocol.V1;
using Grpc.Core;
using Xunit;
using static Broker.Tests.Interop.ForeignCalls;
using DeliveryState = Broker.Client.DeliveryState;
using PeekedRecord = Broker.Client.PeekedRecord;
using WireState = Broker.Protocol.V1.DeliveryState;

namespace Broker.Tests.Interop;

/// <summary>What operators see of a group's single records, at real nodes.</summary>
public sealed class ConsumerGroupPeekTests
{
    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Each_record_is_seen_in_the_state_in_which_it_is()
    {
        // One broker: a new leader would know nothing of who has what.
        await using var brokers = await BrokerProcesses.StartAsync(1);
        await using var client = brokers.Connect();
        var settings = new GroupSettings { Filters = ["t.*"], AckWait = TimeSpan.FromMinutes(5) };
        await client.CreateGroupAsync("g", settings, cancellationToken: Test);
        for (var i = 0; i < 60; i++)
        {
            await client.PublishAsync($"t.{i % 6}", Message($"{i}"), Test);
        }

        var all = Enumerable.Range(0, 60).Select(static i => ($"t.{i % 6}", (long)(i / 6))).Order().ToList();
        await SeenAsync(DeliveryState.Waiting, all);

        // Of each topic one comes again later, one is dead, one finished, and the others stay with one who has gone.
        var before = DateTimeOffset.UtcNow;
        await using (var anna = await client.ConsumeAsync("g", new ConsumeOptions { Consumer = "anna" }, Test))
        {
            var left = all.Count;
            await foreach (var record in anna.WithCancellation(Test))
            {
                Assert.True(await (record.Record.Offset switch
                {
                    1 => record.NackAsync(TimeSpan.FromHours(1), Test),
                    2 => record.TerminateAsync("no good", Test),
                    3 => record.AckAsync(Test),
                    _ => ValueTask.FromResult(true),
                }));
                if (--left == 0)
                {
                    break;
                }
            }
        }

        List<(string, long)> Of(long offset) => [.. all.Where(each => each.Item2 == offset)];
        var delayed = await SeenAsync(DeliveryState.Delayed, Of(1));
        Assert.All(delayed, each => Assert.InRange(
            each.Due!.Value - before, TimeSpan.FromMinutes(59), TimeSpan.FromMinutes(70)));
        Assert.All(
            delayed, static each => Assert.Equal((1, "", null), (each.Deliveries, each.Consumer, each.LeaseEnd)));
        var dead = await SeenAsync(DeliveryState.Dead, Of(2), isOrdered: false);
        Assert.All(dead, static each => Assert.Equal((1, "no good"), (each.Deliveries, each.Reason)));
        Assert.Equal(1, await client.PurgeDeadLettersAsync("g", [dead[0].DeadPosition!.Value], Test));

        var rest = all.Where(static each => each.Item2 is 0 or > 3).ToList();
        var outstanding = await SeenAsync(DeliveryState.Outstanding, rest);
        Assert.All(outstanding, each =>
        {
            Assert.Equal((1, "anna", true), (each.Deliveries, each.Consumer, each.NodeId == 1));
            Assert.InRange(each.LeaseEnd!.Value - before, TimeSpan.FromMinutes(4), TimeSpan.FromMinutes(15));
        });
        await SeenAsync(DeliveryState.Waiting, []);

        async Task<List<PeekedRecord>> SeenAsync(
            DeliveryState state, List<(string, long)> expected, bool isOrdered = true)
        {
            List<PeekedRecord> seen = [];
            await Eventually.HoldsAsync(
                async () =>
                {
                    seen = await client.PeekGroupAsync("g", state, Test).ToListAsync(Test);
                    var places = seen.Select(static each => (each.Topic, each.Offset));
                    return (isOrdered ? places : places.Order()).SequenceEqual(expected);
                },
                () => $"{state}: {string.Join(' ', seen)}");
            return seen;
        }
    }

    [Fact]
    public async Task Pages_come_in_order_from_any_node_and_what_cannot_be_is_refused()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        await client.CreateTopicAsync("p", new TopicSettings { Partitions = 5 }, Test);
        for (var i = 0; i < 50; i++)
        {
            await client.PublishAsync("p", Message($"{i}") with { Partition = i % 5 }, Test);
            await client.PublishAsync($"o.{i % 10}", Message($"{i}"), Test);
        }

        await client.CreateGroupAsync("g", new GroupSettings { Filters = ["p", "o.*"] }, cancellationToken: Test);
        var seen = new List<(string, uint, long)>();
        var request = new PeekGroupRequest { Group = "g", State = WireState.Waiting, PageSize = 7 };
        var pages = 0;
        do
        {
            var admin = new Admin.AdminClient(brokers.Channels[pages++ % 3]);
            var page = await RetryAsync(
                () => admin.PeekGroupAsync(request, cancellationToken: Test).ResponseAsync,
                StatusCode.Unavailable,
                StatusCode.NotFound);
            Assert.InRange(page.Records.Count, 1, 7);
            seen.AddRange(page.Records.Select(static each => (each.Topic, each.Partition, each.Offset)));
            request.PageToken = page.NextPageToken;
        }
        while (request.PageToken.Length > 0);
        Assert.Equal((100, 15), (seen.Distinct().Count(), pages));
        Assert.Equal(seen.OrderBy(static each => each.Item1, StringComparer.Ordinal)
            .ThenBy(static each => each.Item2).ThenBy(static each => each.Item3), seen);

        var any = new Admin.AdminClient(brokers.Channels[0]);
        foreach (var wrong in new[]
        {
            new PeekGroupRequest { Group = "g" },
            new PeekGroupRequest { Group = "g", State = (WireState)77 },
            new PeekGroupRequest { Group = "g", State = WireState.Waiting, PageToken = "x" },
            new PeekGroupRequest { Group = "g", State = WireState.Dead, PageToken = "1:2:t" },
            new PeekGroupRequest { Group = "$g", State = WireState.Waiting },
        })
        {
            await RefusedAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", () => any.PeekGroupAsync(
                wrong, cancellationToken: Test).ResponseAsync);
        }

        var missing = new PeekGroupRequest { Group = "none", State = WireState.Delayed };
        var refused = await Assert.ThrowsAsync<RpcException>(
            async () => await any.PeekGroupAsync(missing, cancellationToken: Test));
        Assert.Equal(StatusCode.NotFound, refused.StatusCode);
        var info = await any.GetServerInfoAsync(new GetServerInfoRequest(), cancellationToken: Test);
        Assert.Contains("group-peek", info.Features);
        Assert.Equal(info.Features.Order(StringComparer.Ordinal), info.Features);
    }

    private static BrokerMessage Message(string value) => new() { Value = Encoding.UTF8.GetBytes(value) };
}
