using System.Diagnostics;
using Broker.Protocol.V1;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Xunit;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Interop;

/// <summary>A broker that has more to bring to others than they take, or brings it to one that is paused.</summary>
public sealed class OverloadTests : IAsyncDisposable
{
    private const string Topic = "overload";
    private const int Follower = 1;
    private const int MiB = 1024 * 1024;

    private readonly KilledBrokers _brokers = new();

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    public ValueTask DisposeAsync() => _brokers.DisposeAsync();

    // A burst to a follower was bounded in calls, not in bytes: 3.6 GB of it made 5.5 GB resident.
    [Fact]
    public async Task Burst_to_a_broker_that_cannot_pass_it_on_is_refused_and_takes_no_memory()
    {
        const int Messages = 2_000;
        await _brokers.FormAsync();
        await _brokers.PublishNumbersAsync(Topic, 0, 10);
        var before = _brokers.PeakBytesOf(Follower);
        _brokers.Pause(2);
        _brokers.Pause(3);
        var answers = await BurstAsync(Messages);
        var held = _brokers.PeakBytesOf(Follower) - before;
        _brokers.Resume(2);
        _brokers.Resume(3);

        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{held / MiB:N0} MiB more at the most; "
            + string.Join(", ", answers.CountBy(static answer => answer.StatusCode)));
        Assert.InRange(held, 0, 900L * MiB);
        var overloaded = answers.Where(static answer => answer.StatusCode == StatusCode.ResourceExhausted).ToList();
        Assert.NotEmpty(overloaded);
        Assert.All(overloaded, static answer => Assert.NotNull(
            answer.GetRpcStatus()?.GetDetail<Google.Rpc.RetryInfo>()));

        await _brokers.BecomesHealthyAsync(1, 2, 3);
        await using var client = _brokers.Connect(Follower);
        await client.PublishAsync("overload.after", KilledBrokers.NumberMessage(0), Test);
    }

    // Publishes through a follower to a paused leader got no answer until their deadline, although a new leader was
    // there: the connection's ping took 310 s.
    [Fact]
    public async Task Publishes_that_a_paused_leader_was_sent_are_answered_when_another_one_leads()
    {
        await _brokers.FormAsync();
        await _brokers.PublishNumbersAsync(Topic, 0, 10);
        _brokers.Pause(KilledBrokers.TopicLeader);
        var watch = Stopwatch.StartNew();
        using var channel = GrpcChannel.ForAddress(_brokers.GrpcOf(Follower));
        var client = new Protocol.V1.Broker.BrokerClient(channel);
        var sent = Enumerable.Range(0, 50).Select(_ => AnswerAsync(client, new Record(), seconds: 60)).ToList();
        var answers = await Task.WhenAll(sent);
        var silent = watch.Elapsed;
        await _brokers.PublishNumbersAsync("overload.next", 0, 1, Follower);
        var next = watch.Elapsed;
        _brokers.Resume(KilledBrokers.TopicLeader);

        TestContext.Current.TestOutputHelper?.WriteLine(
            $"answered after {silent.TotalMilliseconds:N0} ms, published after {next.TotalMilliseconds:N0} ms: "
            + string.Join(", ", answers.CountBy(static answer => answer?.StatusCode ?? StatusCode.OK)));
        Assert.InRange(silent, TimeSpan.Zero, TimeSpan.FromSeconds(15));
        Assert.InRange(next, TimeSpan.Zero, TimeSpan.FromSeconds(20));
        Assert.All(answers, static answer => Assert.True(
            answer?.StatusCode is null or StatusCode.Aborted or StatusCode.Unavailable, $"{answer?.Status}"));
        await _brokers.BecomesHealthyAsync(1, 2, 3);
        await _brokers.AssertReadsNumbersAsync(KilledBrokers.TopicLeader, Topic, 10);
    }

    /// <summary>So many publishes of 1 MiB at once, over connections of their own for every hundred.</summary>
    private async Task<RpcException[]> BurstAsync(int messages)
    {
        var record = new Record { Value = UnsafeByteOperations.UnsafeWrap(new byte[MiB - 1024]) };
        var channels = Enumerable.Range(0, messages / 100)
            .Select(_ => GrpcChannel.ForAddress(_brokers.GrpcOf(Follower)))
            .ToList();
        try
        {
            var clients = channels.ConvertAll(static channel => new Protocol.V1.Broker.BrokerClient(channel));
            var calls = Enumerable.Range(0, messages).Select(
                i => AnswerAsync(clients[i % clients.Count], record, seconds: 60));
            var answers = await Task.WhenAll(calls);
            Assert.DoesNotContain(null, answers);
            return answers!;
        }
        finally
        {
            channels.ForEach(static channel => channel.Dispose());
        }
    }

    /// <summary>Null: it was stored.</summary>
    private static async Task<RpcException?> AnswerAsync(
        Protocol.V1.Broker.BrokerClient client, Record record, int seconds)
    {
        try
        {
            await client.PublishAsync(
                new PublishRequest { Topic = Topic, Batch = new RecordBatch { Records = { record } } },
                deadline: DateTime.UtcNow.AddSeconds(seconds),
                cancellationToken: Test);
            return null;
        }
        catch (RpcException failure)
        {
            return failure;
        }
    }
}
