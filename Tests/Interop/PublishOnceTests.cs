using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Google.Protobuf;
using Grpc.Core;
using Publisher;
using Publisher.Protocol.V1;
using Xunit;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Interop;

/// <summary>A stored message is never reported in a way that invites a second copy, over HTTP and over gRPC.</summary>
public sealed class PublishOnceTests(PostgresServer postgres) : IClassFixture<PostgresServer>, IAsyncLifetime
{
    private static readonly TimeSpan Short = TimeSpan.FromMilliseconds(300);

    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    private readonly FakeBrokers _brokers = new();

    public async ValueTask InitializeAsync() => await postgres.UseNewDatabaseAsync();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public async Task A_message_that_the_brokers_do_not_take_in_time_is_accepted_and_its_address_tells_its_state()
    {
        _brokers.Down = true;
        await using var publisher = await StartAsync();
        var answer = await PostAsync(publisher, "a");
        Assert.Equal(HttpStatusCode.Accepted, answer.StatusCode);
        Assert.Null(answer.Headers.RetryAfter);
        Assert.False((await JsonAsync(answer)).GetProperty("committed").GetBoolean());

        var address = answer.Headers.Location!;
        var pending = await publisher.Http.GetFromJsonAsync<JsonElement>(address, Test);
        Assert.Equal("pending", pending.GetProperty("state").GetString());
        _brokers.Down = false;
        await Eventually.HoldsAsync(
            async () => await StateAsync(publisher, address) == "committed", () => "the message is committed");
        var committed = await publisher.Http.GetFromJsonAsync<JsonElement>(address, Test);
        Assert.Equal((0, "orders"), (
            committed.GetProperty("offset").GetInt64(), committed.GetProperty("topic").GetString()));
        Assert.Equal(["a"], _brokers.Values("orders"));
    }

    [Fact]
    public async Task An_address_of_no_message_is_not_found()
    {
        await using var publisher = await StartAsync();
        await PostAsync(publisher, "a");
        Assert.Equal(HttpStatusCode.NotFound, (await publisher.Http.GetAsync("/outbox/7", Test)).StatusCode);
        Assert.Equal(HttpStatusCode.BadRequest, (await publisher.Http.GetAsync("/outbox/x", Test)).StatusCode);
    }

    [Fact]
    public async Task A_key_makes_the_second_message_a_repetition_with_the_same_answer()
    {
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        var first = await PostAsync(publisher, "a", "k");
        var second = await PostAsync(publisher, "a", "k");
        Assert.Equal((HttpStatusCode.OK, HttpStatusCode.OK), (first.StatusCode, second.StatusCode));
        Assert.Equal(
            await first.Content.ReadAsStringAsync(Test), await second.Content.ReadAsStringAsync(Test));
        var other = await PostAsync(publisher, "a", "l");
        Assert.Equal(1, (await JsonAsync(other)).GetProperty("offset").GetInt64());
        Assert.Equal(["a", "a"], _brokers.Values("orders"));
    }

    [Theory]
    [InlineData("orders", "b", "")]
    [InlineData("bills", "a", "")]
    [InlineData("orders", "a", "key")]
    public async Task Another_message_under_the_same_key_is_refused(string topic, string value, string recordKey)
    {
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        await PostAsync(publisher, "a", "k");
        using var request = new HttpRequestMessage(HttpMethod.Post, $"/publish/{topic}")
        {
            Content = new StringContent(value),
            Headers = { { "Idempotency-Key", "k" }, { "X-Key", recordKey } },
        };
        var answer = await publisher.Http.SendAsync(request, Test);
        Assert.Equal(HttpStatusCode.UnprocessableEntity, answer.StatusCode);
        Assert.Contains(
            "names another message", await answer.Content.ReadAsStringAsync(Test), StringComparison.Ordinal);
        Assert.Equal(1, await publisher.CountAsync("true"));
    }

    [Fact]
    public async Task A_repetition_waits_with_the_first_one_for_the_brokers()
    {
        _brokers.Down = true;
        await using var publisher = await StartAsync();
        Assert.Equal(HttpStatusCode.Accepted, (await PostAsync(publisher, "a", "k")).StatusCode);
        Assert.Equal(HttpStatusCode.Accepted, (await PostAsync(publisher, "a", "k")).StatusCode);
        await using var patient = await PublisherProcess.StartAsync(postgres, _brokers);
        var third = PostAsync(patient, "a", "k");
        _brokers.Down = false;
        Assert.Equal(0, (await JsonAsync(await third)).GetProperty("offset").GetInt64());
        Assert.Equal(["a"], _brokers.Values("orders"));
    }

    [Fact]
    public async Task Repetitions_at_once_through_two_publishers_store_one_message()
    {
        await using var left = await PublisherProcess.StartAsync(postgres, _brokers);
        await using var right = await PublisherProcess.StartAsync(postgres, _brokers);
        for (var round = 0; round < 20; round++)
        {
            // Messages without a key stand in the same inserts, and none of them may be lost or doubled.
            var name = round.ToString(CultureInfo.InvariantCulture);
            var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(
                i => PostAsync(i % 2 == 0 ? left : right, $"once-{name}", name)));
            var plain = Enumerable.Range(0, 10).Select(i => PostAsync(i % 2 == 0 ? left : right, $"plain-{name}-{i}"));
            await Task.WhenAll(plain);
            var ids = await Task.WhenAll(answers.Select(
                async answer => (await JsonAsync(answer)).GetProperty("id").GetInt64()));
            Assert.Single(ids.Distinct());
        }

        var values = _brokers.Values("orders");
        Assert.Equal(20 + 200, values.Count);
        Assert.Equal(values.Count, values.Distinct().Count());
    }

    [Fact]
    public async Task A_repetition_after_a_crash_is_the_same_message()
    {
        _brokers.Down = true;
        long id;
        await using (var first = await StartAsync())
        {
            id = (await JsonAsync(await PostAsync(first, "a", "k"))).GetProperty("id").GetInt64();
        }

        _brokers.Down = false;
        await using var second = await PublisherProcess.StartAsync(postgres, _brokers);
        var answer = await JsonAsync(await PostAsync(second, "a", "k"));
        Assert.Equal((id, 0), (answer.GetProperty("id").GetInt64(), answer.GetProperty("offset").GetInt64()));
        Assert.Equal(["a"], _brokers.Values("orders"));
    }

    [Fact]
    public async Task Postgres_killed_in_mid_publish_and_every_doubt_sent_again_stores_each_once()
    {
        await using var publisher = await PublisherProcess.StartAsync(
            postgres, _brokers, options => options.StoreTimeout = TimeSpan.FromMilliseconds(100));
        using var stop = new CancellationTokenSource();
        var answered = 0;
        var workers = Enumerable.Range(0, 8).Select(worker => Task.Run(async () =>
        {
            for (var i = 0; !stop.IsCancellationRequested; i++)
            {
                var value = $"{worker}-{i}";
                while ((await PostAsync(publisher, value, value)).StatusCode != HttpStatusCode.OK)
                {
                    await Task.Delay(10, Test);
                }

                Interlocked.Increment(ref answered);
            }
        }, Test)).ToArray();
        for (var round = 0; round < 3; round++)
        {
            var before = answered;
            await Eventually.HoldsAsync(() => answered > before + 100, "100 more answered");
            await postgres.KillAsync();
            await Task.Delay(200, Test);  // Long enough that inserts are given up with their outcome unknown.
            await postgres.StartAsync();
        }

        await stop.CancelAsync();
        await Task.WhenAll(workers);
        await Eventually.HoldsAsync(() => _brokers.Values("orders").Count >= answered, "all published");
        var values = _brokers.Values("orders");
        Assert.Equal((answered, answered), (values.Count, values.Distinct().Count()));
    }

    [Fact]
    public async Task Sending_again_is_invited_only_where_it_is_safe()
    {
        await using var publisher = await StartAsync();
        await PostAsync(publisher, "a");
        await postgres.KillAsync();
        var keyed = await PostAsync(publisher, "b", "k");
        Assert.NotNull(keyed.Headers.RetryAfter);
        var plain = await PostAsync(publisher, "c");
        Assert.Equal(plain.StatusCode != HttpStatusCode.GatewayTimeout, plain.Headers.RetryAfter is not null);
        await postgres.StartAsync();
        await Eventually.HoldsAsync(
            async () => (await PostAsync(publisher, "b", "k")).StatusCode == HttpStatusCode.OK,
            () => "Postgres is back");
        Assert.Single(_brokers.Values("orders"), value => value == "b");
    }

    [Fact]
    public async Task Over_gRPC_a_stored_message_is_no_error_and_a_key_makes_a_repetition()
    {
        _brokers.Down = true;
        await using var publisher = await StartAsync();
        var client = new Publisher.Protocol.V1.Publisher.PublisherClient(publisher.Grpc);
        var first = await client.PublishAsync(Request("a", "k"), cancellationToken: Test);
        Assert.Equal((false, -1), (first.Committed, first.Offset));
        publisher.Part<PublisherOptions>().CommitTimeout = TimeSpan.FromSeconds(30);
        var impatient = await client.PublishAsync(
            Request("a", "k"),
            deadline: TimeProvider.System.GetUtcNow().UtcDateTime + TimeSpan.FromSeconds(4),
            cancellationToken: Test);
        Assert.Equal(first, impatient);
        var state = await client.GetMessageAsync(
            new GetMessageRequest { OutboxId = first.OutboxId }, cancellationToken: Test);
        Assert.Equal((MessageState.Pending, "orders"), (state.State, state.Topic));

        _brokers.Down = false;
        var batch = new PublishBatchRequest { Messages = { Request("b", ""), Request("a", "k"), Request("c", "l") } };
        var answers = await client.PublishBatchAsync(batch, cancellationToken: Test);
        Assert.Equal(first.OutboxId, answers.Responses[1].OutboxId);
        Assert.Equal((0, 1, 2), (
            answers.Responses[1].Offset, answers.Responses[0].Offset, answers.Responses[2].Offset));
        var again = await client.PublishAsync(Request("c", "l"), cancellationToken: Test);
        Assert.Equal(answers.Responses[2], again);

        var other = await Assert.ThrowsAsync<RpcException>(
            async () => await client.PublishAsync(Request("d", "l"), cancellationToken: Test));
        Assert.Equal(StatusCode.AlreadyExists, other.StatusCode);
        var twice = new PublishBatchRequest { Messages = { Request("e", "m"), Request("e", "m") } };
        var refused = await Assert.ThrowsAsync<RpcException>(
            async () => await client.PublishBatchAsync(twice, cancellationToken: Test));
        Assert.Equal(StatusCode.InvalidArgument, refused.StatusCode);
        var none = await Assert.ThrowsAsync<RpcException>(async () => await client.GetMessageAsync(
            new GetMessageRequest { OutboxId = 1_000 }, cancellationToken: Test));
        Assert.Equal(StatusCode.NotFound, none.StatusCode);
        Assert.Equal(["a", "b", "c"], _brokers.Values("orders"));
    }

    [Fact]
    public async Task A_repetition_of_a_refused_message_is_refused_as_well()
    {
        _brokers.Poison = "bad";
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        Assert.Equal(HttpStatusCode.BadRequest, (await PostAsync(publisher, "bad", "k")).StatusCode);
        Assert.Equal(HttpStatusCode.BadRequest, (await PostAsync(publisher, "bad", "k")).StatusCode);
        Assert.Equal(1, await publisher.CountAsync("true"));
    }

    private Task<PublisherProcess> StartAsync() => PublisherProcess.StartAsync(
        postgres, _brokers, options => (options.CommitTimeout, options.StoreTimeout) = (Short, Short));

    private static PublishRequest Request(string value, string key) => new()
    {
        Topic = "orders",
        Record = new Record { Value = ByteString.CopyFromUtf8(value) },
        IdempotencyKey = key,
    };

    private static async Task<HttpResponseMessage> PostAsync(
        PublisherProcess publisher, string value, string? key = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/publish/orders")
        {
            Content = new StringContent(value),
        };
        if (key is not null)
        {
            request.Headers.Add("Idempotency-Key", key);
        }

        return await publisher.Http.SendAsync(request, Test);
    }

    private static async Task<string?> StateAsync(PublisherProcess publisher, Uri address) =>
        (await publisher.Http.GetFromJsonAsync<JsonElement>(address, Test)).GetProperty("state").GetString();

    private static Task<JsonElement> JsonAsync(HttpResponseMessage answer) =>
        answer.Content.ReadFromJsonAsync<JsonElement>(Test);
}
