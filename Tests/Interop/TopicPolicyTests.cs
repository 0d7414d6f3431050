using Broker.Client;
using Broker.Protocol.V1;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Xunit;
using static Broker.Tests.Interop.ForeignCalls;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Interop;

/// <summary>How topics come to be: templates, and publishes to names that no topic has.</summary>
public sealed class TopicPolicyTests
{
    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task A_first_publish_makes_a_topic_as_its_template_says(int nodes)
    {
        await using var brokers = await BrokerProcesses.StartAsync(nodes);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        await PutAsync(admin, "orders.>", new TopicConfig { MaxRecords = 100, Partitions = 4 });
        await PutAsync(admin, "orders.*.audit", new TopicConfig { MaxAgeMs = 3_600_000 });
        await using var client = brokers.Connect();
        await EverywhereAsync(brokers, static rules => rules.Templates.Count == 2);

        // Through every node, whoever leads; also before this one has heard of the topic.
        foreach (var (i, channel) in brokers.Channels.Index())
        {
            foreach (var name in new[] { $"orders.n{i}", $"orders.n{i}.audit", $"stock.n{i}" })
            {
                Assert.Equal(0, (await PublishAsync(channel, name)).BaseOffset);
            }

            Assert.Equal((4U, 100UL, 0UL), await SettingsAsync(channel, $"orders.n{i}"));
            Assert.Equal((1U, 0UL, 3_600_000UL), await SettingsAsync(channel, $"orders.n{i}.audit"));
            Assert.Equal((1U, 0UL, 0UL), await SettingsAsync(channel, $"stock.n{i}"));
        }

        // CreateTopic takes from the template what it does not set itself.
        foreach (var (i, channel) in brokers.Channels.Index())
        {
            var made = await new Admin.AdminClient(channel).CreateTopicAsync(
                new CreateTopicRequest
                {
                    Name = $"orders.made{i}",
                    Config = new TopicConfig { MaxRecords = 7 },
                },
                cancellationToken: Test);
            Assert.Equal((4U, 7UL), (made.Config.Partitions ?? 0, made.Config.MaxRecords ?? 0));
            Assert.Equal((4U, 7UL, 0UL), await SettingsAsync(channel, $"orders.made{i}"));
        }

        // A template that is changed or removed concerns later topics alone.
        await PutAsync(admin, "orders.>", new TopicConfig { MaxRecords = 5 });
        await admin.DeleteTopicTemplateAsync(
            new DeleteTopicTemplateRequest { Filter = "orders.*.audit" }, cancellationToken: Test);
        await admin.DeleteTopicTemplateAsync(
            new DeleteTopicTemplateRequest { Filter = "orders.*.audit" }, cancellationToken: Test);
        await PublishAsync(brokers.Channels[^1], "orders.late.audit");
        Assert.Equal((1U, 5UL, 0UL), await SettingsAsync(brokers.Channels[0], "orders.late.audit"));
        Assert.Equal((4U, 100UL, 0UL), await SettingsAsync(brokers.Channels[0], "orders.n0"));
        var rules = await client.ListTopicTemplatesAsync(Test);
        await EverywhereAsync(brokers, static rules => rules.Templates.Count == 1);
        Assert.Equal(5, Assert.Single((await client.ListTopicTemplatesAsync(Test)).Templates).Value.MaxRecords);
        Assert.True(rules.AutoCreate);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task Without_auto_create_a_publish_to_an_unknown_name_is_refused_with_the_nearest_names(int nodes)
    {
        await using var brokers = await BrokerProcesses.StartAsync(nodes);
        await using var client = brokers.Connect();
        await client.PublishAsync("orders.eu.created", Message("1"), Test);
        await client.CreateTopicAsync("orders.eu.changed", cancellationToken: Test);
        await client.SetAutoCreateAsync(false, Test);
        await EverywhereAsync(brokers, static rules => !rules.AutoCreate);
        foreach (var channel in brokers.Channels)
        {
            var refusal = await Assert.ThrowsAsync<RpcException>(() => PublishAsync(channel, "orders.eu.craeted"));
            Assert.Equal((StatusCode.NotFound, "AUTO_CREATE_OFF"), (refusal.StatusCode, ReasonOf(refusal)));
            Assert.Contains("'orders.eu.created'", refusal.Status.Detail, StringComparison.Ordinal);
            Assert.DoesNotContain("$", refusal.Status.Detail, StringComparison.Ordinal);
            Assert.Contains(
                "No topic has a name",
                (await Assert.ThrowsAsync<RpcException>(() => PublishAsync(channel, "invoices"))).Status.Detail,
                StringComparison.Ordinal);
            await PublishAsync(channel, "orders.eu.created");
        }

        var told = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.PublishAsync("orders.eu.creatd", Message("2"), Test));
        Assert.Equal((BrokerClientErrorCode.NotFound, "AUTO_CREATE_OFF"), (told.Code, told.Reason));
        Assert.Equal(
            ["orders.eu.changed", "orders.eu.created"],
            (await client.ListTopicsAsync(cancellationToken: Test)).Select(static topic => topic.Name));

        // Whoever is told to make the topic can publish at once, through any node.
        foreach (var (i, channel) in brokers.Channels.Index())
        {
            await new Admin.AdminClient(channel).CreateTopicAsync(
                new CreateTopicRequest { Name = $"made{i}" }, cancellationToken: Test);
            foreach (var other in brokers.Channels)
            {
                await PublishAsync(other, $"made{i}");
            }
        }

        await client.SetAutoCreateAsync(true, Test);
        await EverywhereAsync(brokers, static rules => rules.AutoCreate);
        await PublishAsync(brokers.Channels[^1], "invoices");
    }

    [Fact]
    public async Task A_deleted_topic_does_not_come_back_by_those_who_still_publish_to_it()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        await client.SetAutoCreateAsync(false, Test);
        await EverywhereAsync(brokers, static rules => !rules.AutoCreate);
        for (var round = 0; round < 5; round++)
        {
            await client.CreateTopicAsync("a", new TopicSettings { MaxRecords = 1_000 + round }, Test);
            var publishing = brokers.Channels.Select(async channel =>
            {
                while (true)
                {
                    try
                    {
                        await PublishAsync(channel, "a");
                    }
                    catch (RpcException refusal)
                    {
                        return (refusal.StatusCode, ReasonOf(refusal));
                    }
                }
            }).ToList();
            await Task.Delay(200, Test);
            Assert.True(await client.DeleteTopicAsync("a", Test));
            Assert.All(
                await Task.WhenAll(publishing),
                static end => Assert.Equal((StatusCode.NotFound, "AUTO_CREATE_OFF"), end));

            // A node that lags by a network hop lists it a moment longer; one that came back would stay.
            foreach (var channel in brokers.Channels)
            {
                await Eventually.HoldsAsync(
                    async () => (await new Admin.AdminClient(channel).ListTopicsAsync(
                        new ListTopicsRequest(), cancellationToken: Test)).Topics.Count == 0,
                    static () => "the topic is gone on every node");
            }
        }
    }

    /// <summary>A stream's order holds, although the first publish waits until its topic is made.</summary>
    [Fact]
    public async Task What_is_published_to_a_topic_that_is_being_made_keeps_its_order()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        await client.PutTopicTemplateAsync("ordered.>", new TopicSettings { MaxRecords = 10_000 }, Test);
        await EverywhereAsync(brokers, static rules => rules.Templates.Count == 1);
        foreach (var (i, channel) in brokers.Channels.Index())
        {
            using var stream = new Protocol.V1.Broker.BrokerClient(channel).PublishStream(cancellationToken: Test);
            for (var sent = 0U; sent < 200; sent++)
            {
                await stream.RequestStream.WriteAsync(
                    new PublishStreamRequest
                    {
                        Publishes = { new StreamedPublish { Correlation = sent, Publish = Request($"ordered.n{i}") } },
                    },
                    Test);
            }

            await stream.RequestStream.CompleteAsync();
            var next = 0;
            while (await stream.ResponseStream.MoveNext(Test))
            {
                foreach (var result in stream.ResponseStream.Current.Results)
                {
                    Assert.Equal((0U, (ulong)next, next), (
                        result.Status, result.Correlation, (int)result.Response.BaseOffset));
                    next++;
                }
            }

            Assert.Equal(200, next);
        }
    }

    [Fact]
    public async Task Bad_templates_are_refused_with_a_sentence_and_pages_lead_through_many()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        (string Filter, TopicConfig? Config, StatusCode Status, string Sentence)[] cases =
        [
            ("", null, StatusCode.InvalidArgument, "empty"),
            ("a b", null, StatusCode.InvalidArgument, "space"),
            ("a.>.b", null, StatusCode.InvalidArgument, ">"),
            ("$dlq.>", null, StatusCode.InvalidArgument, "$"),
            (new string('a', 256), null, StatusCode.InvalidArgument, "255"),
            ("a", new TopicConfig { Partitions = 0 }, StatusCode.InvalidArgument, "partitions"),
            ("a", new TopicConfig { MaxMessageBytes = 0 }, StatusCode.InvalidArgument, "max_message_bytes"),
        ];
        foreach (var (filter, config, status, sentence) in cases)
        {
            var refusal = await Assert.ThrowsAsync<RpcException>(() => PutAsync(admin, filter, config));
            Assert.Equal(status, refusal.StatusCode);
            Assert.Contains(sentence, refusal.Status.Detail, StringComparison.Ordinal);
        }

        for (var i = 0; i < 25; i++)
        {
            await PutAsync(admin, $"t{i:D2}.*", new TopicConfig { MaxRecords = (ulong)i });
        }

        var (found, token) = (new List<TopicTemplate>(), "");
        do
        {
            var page = await admin.ListTopicTemplatesAsync(
                new ListTopicTemplatesRequest { PageSize = 10, PageToken = token }, cancellationToken: Test);
            found.AddRange(page.Templates);
            token = page.NextPageToken;
        }
        while (token.Length > 0);
        Assert.Equal(
            Enumerable.Range(0, 25).Select(static i => $"t{i:D2}.*"), found.Select(static each => each.Filter));
        Assert.Equal(24UL, found[^1].Config.MaxRecords);
        Assert.Null(found[^1].Config.MaxBytes);

        // A name that its template gives several partitions must leave room for theirs.
        await PutAsync(admin, ">", new TopicConfig { Partitions = 2 });
        var tooLong = await Assert.ThrowsAsync<RpcException>(
            () => PublishAsync(brokers.Channels[0], new string('x', 252)));
        Assert.Equal((StatusCode.InvalidArgument, "INVALID_REQUEST"), (tooLong.StatusCode, ReasonOf(tooLong)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task A_topic_is_purged_of_what_is_older_than_a_time(int nodes)
    {
        await using var brokers = await BrokerProcesses.StartAsync(nodes);
        await using var client = brokers.Connect();
        var acks = new List<PublishAck>();
        for (var i = 0; i < 20; i++)
        {
            acks.Add(await client.PublishAsync("a", Message($"{i}"), Test));
            await Task.Delay(3, Test);
        }

        foreach (var (i, at) in new[] { 3, 3, 7, 12 }.Index())
        {
            var time = acks[at].Timestamp;
            var kept = acks.First(ack => ack.Timestamp >= time).Offset;
            var response = await new Admin.AdminClient(brokers.Channels[i % nodes]).PurgeTopicAsync(
                new PurgeTopicRequest { Name = "a", BeforeTimeUnixMs = time.ToUnixTimeMilliseconds() },
                cancellationToken: Test);
            Assert.Equal([kept], response.FirstOffsets);
            var described = await client.DescribeTopicAsync("a", linearizable: true, Test);
            Assert.Equal((kept, 20L), (described.Topic.FirstOffset, described.Topic.NextOffset));
        }

        // What is before the first record is nothing; what lies in the future is all.
        Assert.Equal(acks[12].Offset, await client.PurgeTopicBeforeAsync("a", acks[0].Timestamp, Test));
        Assert.Equal(20, await client.PurgeTopicBeforeAsync("a", DateTimeOffset.UtcNow.AddYears(1), Test));
        Assert.Equal(20, (await client.PublishAsync("a", Message("more"), Test)).Offset);

        await client.CreateTopicAsync("parted", new TopicSettings { Partitions = 5 }, Test);
        for (var i = 0; i < 40; i++)
        {
            acks.Add(await client.PublishAsync(
                "parted", new BrokerMessage { Key = BitConverter.GetBytes(i), Value = new byte[1] }, Test));
        }

        await Task.Delay(3, Test);
        Assert.Equal(40, await client.PurgeTopicBeforeAsync("parted", DateTimeOffset.UtcNow.AddYears(1), Test));

        var admin = new Admin.AdminClient(brokers.Channels[0]);
        foreach (var (request, status, reason) in new[]
        {
            (new PurgeTopicRequest { Name = "a" }, StatusCode.InvalidArgument, "INVALID_REQUEST"),
            (new PurgeTopicRequest { Name = "a", BeforeOffset = 1 }, StatusCode.InvalidArgument, "INVALID_REQUEST"),
            (new PurgeTopicRequest { Name = "none" }, StatusCode.NotFound, "NOT_FOUND"),
            (new PurgeTopicRequest { Name = "a", Partition = 1 }, StatusCode.NotFound, "NOT_FOUND"),
        })
        {
            // The first one has a time that cannot be; in the others what else they say is wrong.
            request.BeforeTimeUnixMs = request is { Name: "a", Partition: null, BeforeOffset: null } ? -1 : 1;
            var refusal = await Assert.ThrowsAsync<RpcException>(
                async () => await admin.PurgeTopicAsync(request, cancellationToken: Test));
            Assert.Equal((status, reason), (refusal.StatusCode, ReasonOf(refusal)));
        }
    }

    private static async Task PutAsync(Admin.AdminClient admin, string filter, TopicConfig? config) =>
        await admin.PutTopicTemplateAsync(
            new PutTopicTemplateRequest { Filter = filter, Config = config }, cancellationToken: Test);

    /// <summary>A node follows a network hop after the answer.</summary>
    private static async Task EverywhereAsync(BrokerProcesses brokers, Func<ListTopicTemplatesResponse, bool> holds)
    {
        foreach (var channel in brokers.Channels)
        {
            await Eventually.HoldsAsync(
                async () => holds(await new Admin.AdminClient(channel).ListTopicTemplatesAsync(
                    new ListTopicTemplatesRequest(), cancellationToken: Test)),
                static () => "every node knows the policies");
        }
    }

    private static PublishRequest Request(string topic) => new()
    {
        Topic = topic,
        Batch = new RecordBatch { Records = { new Record { Value = ByteString.CopyFromUtf8("x") } } },
    };

    /// <summary>As every client does: UNAVAILABLE says that nothing was stored, and to send again.</summary>
    private static Task<PublishResponse> PublishAsync(GrpcChannel channel, string topic) => RetryAsync(
        () => new Protocol.V1.Broker.BrokerClient(channel).PublishAsync(
            Request(topic), cancellationToken: Test).ResponseAsync,
        StatusCode.Unavailable);

    private static async Task<(uint Partitions, ulong MaxRecords, ulong MaxAgeMs)> SettingsAsync(
        GrpcChannel channel, string topic)
    {
        var config = (await new Admin.AdminClient(channel).DescribeTopicAsync(
            new DescribeTopicRequest { Name = topic }, cancellationToken: Test)).Config;
        return (config.Partitions ?? 0, config.MaxRecords ?? 0, config.MaxAgeMs ?? 0);
    }

    private static BrokerMessage Message(string text) => new() { Value = System.Text.Encoding.UTF8.GetBytes(text) };
}
