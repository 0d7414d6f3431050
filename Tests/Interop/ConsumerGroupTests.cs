using Broker.Protocol.V1;
using Broker.Tests.Interop.GrpcCalls;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Xunit;
using static Broker.Tests.Interop.ForeignCalls;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Interop;

/// <summary>Consumer groups at real nodes, as a client in any language sees them.</summary>
public sealed class ConsumerGroupTests
{
    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task Consumers_at_any_node_share_what_a_group_gets_until_all_is_settled(int nodes)
    {
        await using var brokers = await BrokerProcesses.StartAsync(nodes);
        GrpcChannel At(int i) => brokers.Channels[i % nodes];
        for (var i = 0; i < 100; i++)
        {
            await PublishAsync(At(i), $"orders.{i % 5}", $"{i}");
        }

        // With more credit it might have everything before the other one is known to the shards' leaders.
        await using var one = await GroupStream.OpenAsync(At(0), new ConsumeOpen
        {
            Group = "workers",
            Filters = { "orders.>" },
            Credit = new Credit { Records = 100, Bytes = 1_000_000 },
        });
        await using var two = await GroupStream.OpenAsync(At(1), "workers");
        Assert.Equal(["orders.>"], two.Opened.Filters);
        Assert.Equal((GroupMode.Shared, 30_000UL), (two.Opened.Mode, two.Opened.AckWaitMs));
        var settled = new HashSet<string>();
        var fromTwo = 0;
        for (var i = 100; i < 200; i++)
        {
            await PublishAsync(At(i), $"orders.{i % 5}", $"{i}");
        }

        for (var quiet = 0; settled.Count < 200 && quiet < 200;)
        {
            foreach (var stream in new[] { one, two })
            {
                if (await stream.NextAsync(0.1) is { } delivery)
                {
                    var values = GroupStream.ValuesOf(delivery).Select(static each => each.Value).ToList();
                    fromTwo += stream == two ? (int)delivery.Count : 0;

                    // Where leadership moves meanwhile, the next leader may have given it to the other one.
                    var answer = await stream.AckAsync(delivery);
                    Assert.Contains(answer.Status, new[] { 0U, 5U });
                    settled.UnionWith(answer.Status == 0 ? values : []);
                }
                else
                {
                    quiet++;
                }
            }
        }

        Assert.Equal(Enumerable.Range(0, 200).Select(static i => $"{i}").Order(), settled.Order());
        Assert.True(fromTwo > 0, "the second consumer has its part of the work");
        Assert.Null(await one.NextAsync(0.3));
        var admin = new Admin.AdminClient(At(2));
        var found = await admin.DescribeGroupAsync(
            new DescribeGroupRequest { Name = "workers" }, cancellationToken: Test);
        Assert.Equal((0L, 2U), (found.Group.LagRecords, found.Group.Consumers));
        Assert.Equal(
            new[] { "orders.0", "orders.1", "orders.2", "orders.3", "orders.4" },
            found.Progress.Select(static each => each.Topic));
        Assert.All(found.Progress, static each =>
            Assert.Equal((40L, 40L, 0L, 0U), (each.AckFloor, each.NextOffset, each.LagRecords, each.Outstanding)));
    }

    [Fact]
    public async Task A_group_is_made_changed_listed_described_and_deleted_at_any_node()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        var admins = brokers.Channels.Select(channel => new Admin.AdminClient(channel)).ToList();
        var config = new GroupConfig
        {
            Filters = { "a.*", "b" },
            AckWaitMs = 500,
            MaxDeliveries = 0,
            BackOff = new BackOff { WaitMs = { 10, 20 } },
            MaxOutstanding = 7,
            DeadLetters = false,
            Position = StartPosition.End,
        };
        for (var i = 0; i < 6; i++)
        {
            var name = $"g.{i}";
            var create = new CreateGroupRequest { Name = name, Config = config };
            var made = (await admins[i % 3].CreateGroupAsync(create, cancellationToken: Test)).Config;
            var whole = new GroupConfig(config) { Mode = GroupMode.Shared, Paused = false, Order = GroupOrder.Offset };
            Assert.Equal(whole, made);
            await admins[(i + 1) % 3].CreateGroupAsync(create, cancellationToken: Test);
            await RefusedAsync(StatusCode.AlreadyExists, "ALREADY_EXISTS", () => admins[(i + 2) % 3].CreateGroupAsync(
                new CreateGroupRequest { Name = name, Config = new GroupConfig { Filters = { "a.*" } } },
                cancellationToken: Test).ResponseAsync);
            var update = new UpdateGroupRequest
            {
                Name = name,
                Config = new GroupConfig { MaxDeliveries = 3, Paused = true, BackOff = new BackOff() },
            };
            var changed = await admins[(i + 2) % 3].UpdateGroupAsync(update, cancellationToken: Test);
            whole.MaxDeliveries = 3;
            whole.Paused = true;
            whole.BackOff = new BackOff();
            Assert.Equal(whole, changed.Config);
        }

        await Eventually.HoldsAsync(
            async () => (await ListAsync(admins[0], 4)).SequenceEqual(Enumerable.Range(0, 6).Select(i => $"g.{i}")),
            () => "the first node has all groups");
        foreach (var (i, admin) in admins.Index())
        {
            await admin.DeleteGroupAsync(new DeleteGroupRequest { Name = $"g.{i}" }, cancellationToken: Test);
            await RefusedAsync(StatusCode.NotFound, "NOT_FOUND", () => admins[(i + 1) % 3].DeleteGroupAsync(
                new DeleteGroupRequest { Name = $"g.{i}" }, cancellationToken: Test).ResponseAsync);
        }

        await RefusedAsync(StatusCode.NotFound, "NOT_FOUND", () => admins[0].UpdateGroupAsync(
            new UpdateGroupRequest { Name = "g.0" }, cancellationToken: Test).ResponseAsync);
        await RefusedAsync(StatusCode.NotFound, "NOT_FOUND", () => admins[0].DescribeGroupAsync(
            new DescribeGroupRequest { Name = "never" }, cancellationToken: Test).ResponseAsync);
    }

    [Fact]
    public async Task What_a_group_cannot_be_is_refused_with_a_sentence_and_nothing_is_done()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        static GroupConfig With(Action<GroupConfig> set)
        {
            var config = new GroupConfig { Filters = { "a" } };
            set(config);
            return config;
        }

        (string Name, GroupConfig? Config, StatusCode Status, string Words)[] cases =
        [
            ("", With(static _ => { }), StatusCode.InvalidArgument, "name"),
            ("a b", With(static _ => { }), StatusCode.InvalidArgument, "space"),
            ("$a", With(static _ => { }), StatusCode.InvalidArgument, "$"),
            (new string('x', 246), With(static _ => { }), StatusCode.InvalidArgument, "246"),
            ("g", null, StatusCode.InvalidArgument, "filters"),
            ("g", With(static c => c.Filters.Add("a..b")), StatusCode.InvalidArgument, "a..b"),
            ("g", With(static c => c.Filters.AddRange(Enumerable.Repeat("b", 100))), StatusCode.InvalidArgument, "101"),
            ("g", With(static c => c.AckWaitMs = 99), StatusCode.InvalidArgument, "ack_wait_ms"),
            ("g", With(static c => c.AckWaitMs = ulong.MaxValue), StatusCode.InvalidArgument, "ack_wait_ms"),
            ("g", With(static c => c.MaxDeliveries = 1_001), StatusCode.InvalidArgument, "max_deliveries"),
            ("g", With(static c => c.MaxOutstanding = 0), StatusCode.InvalidArgument, "max_outstanding"),
            ("g", With(static c => c.MaxOutstanding = 100_001), StatusCode.InvalidArgument, "max_outstanding"),
            ("g", With(static c => c.BackOff = new BackOff { WaitMs = { new ulong[21] } }),
                StatusCode.InvalidArgument, "back_off"),
            ("g", With(static c => c.BackOff = new BackOff { WaitMs = { 86_400_001 } }),
                StatusCode.InvalidArgument, "back_off"),
            ("g", With(static c => c.TimeUnixMs = -1), StatusCode.InvalidArgument, "time_unix_ms"),
            ("g", With(static c => c.Position = StartPosition.LastPerKey), StatusCode.InvalidArgument, "LAST_PER_KEY"),
            ("g", With(static c => c.Mode = (GroupMode)9), StatusCode.InvalidArgument, "9"),
            ("g", With(static c => c.Order = (GroupOrder)9), StatusCode.InvalidArgument, "order"),
            ("g", With(static c => (c.Mode, c.Order) = (GroupMode.Exclusive, GroupOrder.Priority)),
                StatusCode.InvalidArgument, "exclusive"),
        ];
        foreach (var (name, config, status, words) in cases)
        {
            await RefusedAsync(
                status,
                "INVALID_REQUEST",
                words,
                () => admin.CreateGroupAsync(
                    new CreateGroupRequest { Name = name, Config = config }, cancellationToken: Test).ResponseAsync);
        }

        Assert.Empty(await ListAsync(admin, 0));
        await admin.CreateGroupAsync(
            new CreateGroupRequest { Name = "g", Config = new GroupConfig { Filters = { "a" } } },
            cancellationToken: Test);
        (GroupConfig Config, string Words)[] changes =
        [
            (new GroupConfig { Position = StartPosition.End }, "SeekGroup"),
            (new GroupConfig { AckWaitMs = 1 }, "ack_wait_ms"),
            (new GroupConfig { Filters = { "" } }, ""),
        ];
        foreach (var (change, words) in changes)
        {
            await RefusedAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", words, () => admin.UpdateGroupAsync(
                new UpdateGroupRequest { Name = "g", Config = change }, cancellationToken: Test).ResponseAsync);
        }

        SeekGroupRequest[] seeks =
        [
            new() { Name = "g" },
            new() { Name = "g", Offset = 1 },
            new() { Name = "g", Topic = "a", Offset = -1 },
            new() { Name = "g", Partition = 0, Position = StartPosition.End },
            new() { Name = "g", Topic = "a b", Position = StartPosition.End },
            new() { Name = "g", TimeUnixMs = -1 },
            new() { Name = "g", Position = StartPosition.LastPerKey },
        ];
        foreach (var seek in seeks)
        {
            await RefusedAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", () =>
                admin.SeekGroupAsync(seek, cancellationToken: Test).ResponseAsync);
        }

        await RefusedAsync(StatusCode.NotFound, "NOT_FOUND", () => admin.SeekGroupAsync(
            new SeekGroupRequest { Name = "g", Topic = "b", Position = StartPosition.End },
            cancellationToken: Test).ResponseAsync);
    }

    [Fact]
    public async Task What_a_consumer_cannot_say_ends_its_stream_or_is_answered()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var channel = brokers.Channels[0];
        var client = new Protocol.V1.Broker.BrokerClient(channel);
        async Task RefusedOpenAsync(StatusCode status, string reason, ConsumeRequest first)
        {
            using var call = client.Consume(cancellationToken: Test);
            await call.RequestStream.WriteAsync(first, Test);
            await RefusedAsync(status, reason, () => call.ResponseStream.MoveNext(Test));
        }

        var open = new ConsumeOpen { Group = "g", Filters = { "a.>" } };
        await RefusedOpenAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", new ConsumeRequest());
        await RefusedOpenAsync(
            StatusCode.InvalidArgument, "INVALID_REQUEST", new ConsumeRequest { Credit = new Credit() });
        await RefusedOpenAsync(
            StatusCode.InvalidArgument, "INVALID_REQUEST", new ConsumeRequest { Open = new ConsumeOpen() });
        await RefusedOpenAsync(
            StatusCode.InvalidArgument,
            "INVALID_REQUEST",
            new ConsumeRequest { Open = new ConsumeOpen(open) { Consumer = new string('c', 256) } });
        await RefusedOpenAsync(
            StatusCode.NotFound, "NOT_FOUND", new ConsumeRequest { Open = new ConsumeOpen { Group = "g" } });
        await using (await GroupStream.OpenAsync(channel, open))
        {
            await RefusedOpenAsync(
                StatusCode.FailedPrecondition,
                "GROUP_DIFFERS",
                new ConsumeRequest { Open = new ConsumeOpen(open) { Mode = GroupMode.Exclusive } });
            await RefusedOpenAsync(
                StatusCode.FailedPrecondition,
                "GROUP_DIFFERS",
                new ConsumeRequest { Open = new ConsumeOpen { Group = "g", Filters = { "b" } } });
        }

        ConsumeRequest[] ending =
        [
            new() { Open = open },
            new(),
            new() { Ack = new Ack() },
            new() { Credit = new Credit { Records = 1, Bytes = 1 } },
            new() { Nack = new Nack { Ranges = { Enumerable.Repeat(new DeliveredRange(), 1_001) } } },
        ];
        foreach (var request in ending)
        {
            await using var stream = await GroupStream.OpenAsync(channel, "g");
            await stream.SendAsync(request);
            var end = await stream.EndAsync();
            Assert.Equal((StatusCode.InvalidArgument, "INVALID_REQUEST"), (end.StatusCode, ReasonOf(end)));
        }

        await PublishAsync(channel, "a.b", "1");
        await using var other = await GroupStream.OpenAsync(channel, "g");
        var delivery = (await other.NextAsync())!;
        ByteString[] tokens =
        [
            ByteString.Empty, ByteString.CopyFrom(new byte[65]), ByteString.CopyFrom(new byte[20]),
            ByteString.CopyFrom([.. delivery.Token.ToByteArray()[..^1], (byte)(delivery.Token[^1] ^ 1)]),
        ];
        foreach (var token in tokens)
        {
            var settled = await other.SettleAsync(correlation => new ConsumeRequest
            {
                Ack = new Ack { Correlation = correlation, Ranges = { GroupStream.RangeOf(token) } },
            });
            Assert.Equal((3U, Reason.InvalidRequest), (settled.Status, settled.Reason));
            Assert.NotEmpty(settled.Message);
        }

        // Without a correlation only what goes wrong is answered.
        await other.SendAsync(new ConsumeRequest { Ack = new Ack { Ranges = { GroupStream.RangeOf(tokens[0]) } } });
        var failed = await other.SettledAsync();
        Assert.Equal((0UL, 3U), (failed.Correlation, failed.Status));
        Assert.Equal(3U, (await other.AckAsync(delivery, first: 5)).Status);
        Assert.Equal(3U, (await other.AckAsync(delivery, first: 0, count: 2)).Status);
        await other.SendAsync(
            new ConsumeRequest { Ack = new Ack { Ranges = { GroupStream.RangeOf(delivery.Token) } } });
        Assert.Equal(0U, (await other.AckAsync(delivery)).Status);
        await other.CompleteAsync();
        Assert.Null(await other.NextAsync());
    }

    [Fact]
    public async Task What_several_filters_match_comes_once_and_a_filter_for_everything_brings_no_dead_letters()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        var channel = brokers.Channels[0];
        await using var both = await GroupStream.OpenAsync(channel, "both", "t.*.foo", "t.foo.*");
        await using var all = await GroupStream.OpenAsync(brokers.Channels[1], "all", ">");
        await PublishAsync(channel, "t.foo.foo", "1");
        await PublishAsync(channel, "t.x.foo", "2");
        await PublishAsync(channel, "t.foo.x", "3");
        await PublishAsync(channel, "t.x.x", "4");

        // The first of them becomes a dead letter, which stands in a topic of its own.
        var dead = (await both.NextAsync())!;
        Assert.Equal(0U, (await both.TerminateAsync(dead, "no good")).Status);
        var rest = await both.TakeAsync(3 - (int)dead.Count);
        Assert.Equal(
            ["1", "2", "3"],
            GroupStream.ValuesOf(dead).Concat(rest).Select(static each => each.Value).Order());
        Assert.Null(await both.NextAsync(0.5));
        Assert.Equal(
            ["t.foo.foo", "t.foo.x", "t.x.foo", "t.x.x"],
            (await all.TakeAsync(4)).Select(static each => each.Topic).Order());
        Assert.Null(await all.NextAsync(0.5));
        var found = await new Admin.AdminClient(channel).DescribeGroupAsync(
            new DescribeGroupRequest { Name = "both" }, cancellationToken: Test);
        Assert.Equal(1, found.Group.DeadLetters);
    }

    [Fact]
    public async Task A_python_program_consumes_by_a_stream_and_by_calls()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        for (var i = 0; i < 60; i++)
        {
            await PublishAsync(brokers.Channels[i % 3], $"work.{i % 3}", i % 10 == 0 ? $"{i} twice" : $"{i}");
        }

        var stubs = Directory.CreateTempSubdirectory("broker-stubs-");
        try
        {
            await using var program = await ForeignProcess.StartAsync(
                ForeignProcess.Python,
                "group_client",
                Protos(),
                stubs.FullName,
                brokers.Channels[0].Target,
                brokers.Channels[1].Target,
                "python",
                "work.*",
                "60");
            var (exitCode, text) = await program.WaitAsync(TimeSpan.FromSeconds(150));
            Assert.True(exitCode == 0, text);
            Assert.Equal(
                Enumerable.Range(0, 60).Select(static i => i % 10 == 0 ? $"{i} twice" : $"{i}").Order(),
                text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Order());
        }
        finally
        {
            stubs.Delete(recursive: true);
        }

        var found = await new Admin.AdminClient(brokers.Channels[2]).DescribeGroupAsync(
            new DescribeGroupRequest { Name = "python" }, cancellationToken: Test);
        Assert.Equal(0, found.Group.LagRecords);
    }

    private static string Protos([System.Runtime.CompilerServices.CallerFilePath] string file = "") =>
        Path.GetFullPath(Path.Combine(Path.GetDirectoryName(file)!, "..", "..", "Protos"));

    internal static async Task PublishAsync(GrpcChannel channel, string topic, params string[] values)
    {
        var batch = new RecordBatch();
        batch.Records.AddRange(values.Select(static value => new Record { Value = ByteString.CopyFromUtf8(value) }));
        await RetryAsync(
            () => new Protocol.V1.Broker.BrokerClient(channel).PublishAsync(
                new PublishRequest { Topic = topic, Batch = batch }, cancellationToken: Test).ResponseAsync,
            StatusCode.Unavailable);
    }

    private static async Task<List<string>> ListAsync(Admin.AdminClient admin, uint pageSize)
    {
        var names = new List<string>();
        var request = new ListGroupsRequest { PageSize = pageSize, Prefix = "" };
        do
        {
            var page = await admin.ListGroupsAsync(request, cancellationToken: Test);
            Assert.True(pageSize == 0 || page.Groups.Count <= pageSize);
            names.AddRange(page.Groups.Select(static each => each.Name));
            request.PageToken = page.NextPageToken;
        }
        while (request.PageToken.Length > 0);
        return names;
    }
}
