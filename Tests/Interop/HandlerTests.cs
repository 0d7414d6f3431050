using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using System.Text.Json.Serialization;
using Broker.Client;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>Handlers in a user's program: messages of types in, settled by what came of them.</summary>
public sealed partial class HandlerTests
{
    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    [Fact]
    public async Task Typed_messages_are_handled_retried_and_buried()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        await client.CreateGroupAsync(
            "billing",
            new GroupSettings { Filters = ["orders"], MaxDeliveries = 3, BackOff = [TimeSpan.FromMilliseconds(10)] },
            cancellationToken: Test);
        var seen = new Seen();
        using var host = HostOf(brokers, services => services
            .AddSingleton(seen)
            .AddBrokerHandler<OrderHandler, Order>("billing"));
        await host.StartAsync(Test);

        await client.PublishValueAsync("orders", new Order("fine", 1), cancellationToken: Test);
        var keyed = new BrokerMessage { Key = "k"u8.ToArray() };
        await client.PublishValueAsync("orders", new Order("twice", 2), keyed, Test);
        await client.PublishValueAsync("orders", new Order("never", 3), cancellationToken: Test);
        await client.PublishValueAsync("orders", new Order("no", 4), cancellationToken: Test);
        await client.PublishValueAsync("orders", "{\"name\": 7}", cancellationToken: Test);

        await Eventually.HoldsAsync(
            async () => (await client.DescribeGroupAsync("billing", Test)).Group is { Lag: 0, DeadLetters: 3 },
            () => $"all is settled: {string.Join(", ", seen.Handled)}",
            60);
        await host.StopAsync(Test);
        Assert.Equal(
            ["fine 1 1", "never 3 1", "never 3 2", "never 3 3", "no 4 1", "twice 2 1", "twice 2 2"],
            seen.Handled.Order());
        var letters = new List<string>();
        await foreach (var letter in client.ListDeadLettersAsync("billing", Test))
        {
            letters.Add($"{letter.Record.Offset} {letter.Attempts} {letter.Reason}");
        }

        Assert.Equal(3, letters.Count);
        Assert.Contains(letters, static letter => letter.StartsWith("2 3 ", StringComparison.Ordinal));
        Assert.Contains("3 1 It will never do.", letters);
        Assert.Contains(
            letters, static letter => letter.StartsWith("4 1 The message is no Order", StringComparison.Ordinal));
        await foreach (var record in client.ReadAsync("orders", new ReadOptions { MaxRecords = 1 }, Test))
        {
            Assert.Equal(new Order("fine", 1), client.ReadValue<Order>(record));
            Assert.Equal("application/json", Encoding.UTF8.GetString(Assert.Single(record.Headers).Value.Span));
        }
    }

    [Fact]
    public async Task A_handler_that_takes_long_keeps_its_message_and_ends_its_work_when_the_program_ends()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        await using var client = brokers.Connect();
        await client.CreateGroupAsync(
            "slow",
            new GroupSettings { Filters = ["work"], AckWait = TimeSpan.FromSeconds(1) },
            cancellationToken: Test);
        var begun = 0;
        var mayEnd = new TaskCompletionSource();
        using var host = HostOf(brokers, services => services.AddBrokerHandler<string>(
            "slow",
            async (message, _) =>
            {
                Interlocked.Increment(ref begun);
                Assert.Equal(1, message.Attempt);
                await mayEnd.Task;
            },
            new BrokerHandlerOptions { Concurrency = 2 }));
        await host.StartAsync(Test);
        for (var i = 0; i < 5; i++)
        {
            await client.PublishValueAsync("work", $"{i}", cancellationToken: Test);
        }

        // Several times the ack wait: nobody else gets them, and no more than two are begun.
        await Task.Delay(TimeSpan.FromSeconds(4), Test);
        Assert.Equal(2, begun);
        var stopping = host.StopAsync(CancellationToken.None);
        await Task.Delay(TimeSpan.FromMilliseconds(200), Test);
        Assert.False(stopping.IsCompleted);
        mayEnd.SetResult();
        await stopping;

        // Those that were begun are finished; the others are there for the next program.
        Assert.Equal(2, begun);
        var rest = new List<string>();
        while (rest.Count < 3)
        {
            foreach (var record in await client.FetchAsync("slow", 10, cancellationToken: Test))
            {
                rest.Add(client.ReadValue<string>(record.Record));
                await record.AckAsync(Test);
            }
        }

        Assert.Equal(["2", "3", "4"], rest.Order());
        Assert.Equal(0, (await client.DescribeGroupAsync("slow", Test)).Group.Lag);
    }

    [Fact]
    public async Task A_program_that_cannot_wait_cancels_its_handlers_and_their_messages_come_again()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        await using var client = brokers.Connect();
        await client.CreateGroupAsync(
            "g",
            new GroupSettings { Filters = ["work"], BackOff = [TimeSpan.FromMilliseconds(1)] },
            cancellationToken: Test);
        await client.PublishValueAsync("work", "x", cancellationToken: Test);
        var begun = new TaskCompletionSource();
        using var host = HostOf(brokers, services => services.AddBrokerHandler<string>(
            "g",
            async (_, cancellationToken) =>
            {
                begun.TrySetResult();
                await Task.Delay(Timeout.Infinite, cancellationToken);
            }));
        await host.StartAsync(Test);
        await begun.Task.WaitAsync(TimeSpan.FromSeconds(30), Test);
        using var impatient = new CancellationTokenSource(TimeSpan.FromMilliseconds(100));
        await host.StopAsync(impatient.Token);

        var fetched = await client.FetchAsync("g", 1, TimeSpan.FromSeconds(20), cancellationToken: Test);
        Assert.Equal(2, Assert.Single(fetched).Attempt);
    }

    [Fact]
    public async Task Handlers_at_two_programs_share_a_group_while_a_broker_stops_and_wait_for_a_group_that_is_to_come()
    {
        const int Messages = 300;
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        var handled = new ConcurrentDictionary<string, int>();
        using var first = HostOf(brokers, Register);
        using var second = HostOf(brokers, Register);
        await Task.WhenAll(first.StartAsync(Test), second.StartAsync(Test));
        for (var i = 0; i < Messages; i++)
        {
            await client.PublishValueAsync("load", i, cancellationToken: Test);
            if (i == 100)
            {
                await client.CreateGroupAsync(
                    "later", new GroupSettings { Filters = ["load"] }, cancellationToken: Test);
            }

            if (i == 200)
            {
                await brokers.StopAsync(2);
            }
        }

        await Eventually.HoldsAsync(() => handled.Count == Messages, $"all of {Messages} are handled", 90);
        await Task.WhenAll(first.StopAsync(Test), second.StopAsync(Test));
        Assert.Equal(0, (await client.DescribeGroupAsync("later", Test)).Group.Lag);

        void Register(IServiceCollection services) => services.AddBrokerHandler<int>(
            "later",
            (message, _) =>
            {
                handled.AddOrUpdate(message.Value.ToString(CultureInfo.InvariantCulture), 1, static (_, n) => n + 1);
                return Task.CompletedTask;
            });
    }

    [Theory]
    [InlineData(0)]
    [InlineData(501)]
    public void A_concurrency_that_cannot_be_is_refused(int concurrency)
    {
        var error = Assert.Throws<ArgumentException>(() => new ServiceCollection().AddBrokerHandler<string>(
            "g", static (_, _) => Task.CompletedTask, new BrokerHandlerOptions { Concurrency = concurrency }));
        Assert.Contains($"Concurrency is {concurrency}; expected 1 to 500", error.Message, StringComparison.Ordinal);
    }

    private static IHost HostOf(BrokerProcesses brokers, Action<IServiceCollection> register)
    {
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Configuration["ConnectionStrings:broker"] =
            string.Join(';', brokers.Channels.Select(static channel => $"http://{channel.Target}"));
        builder.Services.AddLogging();
        builder.Services.AddBrokerClient();
        register(builder.Services);
        return builder.Build();
    }

    public sealed record Order(string Name, int Number)
    {
        [JsonIgnore]
        public string Words => $"{Name} {Number}";
    }

    private sealed class Seen
    {
        public ConcurrentQueue<string> Handled { get; } = new();
    }

    private sealed class OrderHandler(Seen seen) : IBrokerHandler<Order>
    {
        public Task HandleAsync(HandledMessage<Order> message, CancellationToken cancellationToken)
        {
            seen.Handled.Enqueue($"{message.Value.Words} {message.Attempt}");
            return message.Value.Name switch
            {
                "never" => throw new InvalidOperationException("It does not work."),
                "no" => throw new MessageRejectedException("It will never do."),
                "twice" when message.Attempt == 1 => throw new TimeoutException("Not yet."),
                _ => Task.CompletedTask,
            };
        }
    }
}
