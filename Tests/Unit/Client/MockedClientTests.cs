using System.Reflection;
using System.Runtime.CompilerServices;
using Broker.Api;
using Broker.Client;
using Broker.Domain;
using Grpc.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Broker.Tests.Unit.Client;

/// <summary>A program is tested with something of its own in the place of the client; what its failures say.</summary>
public class MockedClientTests
{
    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_handler_runs_on_a_mocked_client_and_settles_by_it()
    {
        var client = DispatchProxy.Create<IBrokerClient, Mock>();
        var mock = (Mock)(object)client;
        BrokerRecord[] records = [Record(0, "\"good\""), Record(1, "\"bad\""), Record(2, "\"worst\"")];
        var settled = new List<(long Offset, GroupSettlementKind Kind)>();
        var allSettled = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        mock.Calls["get_Serializer"] = _ => MessageSerializer.Default;
        mock.Calls[nameof(IBrokerClient.ConsumeAsync)] = _ => new ValueTask<GroupConsumer>(
            new MockedConsumer(records.Select((record, at) =>
                GroupRecord.Create(client, record, delivery: new GroupDelivery(default, at)))));
        mock.Calls[nameof(IBrokerClient.SettleAsync)] = arguments =>
        {
            var settlement = ((IEnumerable<GroupSettlement>)arguments[0]!).Single();
            lock (settled)
            {
                settled.Add((settlement.Delivery.Position, settlement.Kind));
                if (settled.Count == records.Length)
                {
                    allSettled.SetResult();
                }
            }

            return new ValueTask<IReadOnlyList<bool>>([true]);
        };
        await using var services = new ServiceCollection()
            .AddSingleton<ILoggerFactory>(NullLoggerFactory.Instance)
            .AddSingleton(client)
            .AddBrokerHandler<string>("billing", (message, _) => message.Value switch
            {
                "\"good\"" => Task.CompletedTask,
                "\"bad\"" => throw new InvalidOperationException("try again"),
                _ => throw new MessageRejectedException("never"),
            })
            .BuildServiceProvider();
        var handler = services.GetRequiredService<IHostedService>();

        await handler.StartAsync(Test);
        await allSettled.Task.WaitAsync(TimeSpan.FromSeconds(30), Test);
        await handler.StopAsync(Test);

        Assert.Equal(
            [(0, GroupSettlementKind.Ack), (1, GroupSettlementKind.Nack), (2, GroupSettlementKind.Terminate)],
            settled.Order());
    }

    [Fact]
    public async Task Health_follows_what_the_brokers_say()
    {
        var admin = DispatchProxy.Create<IBrokerAdmin, Mock>();
        var mock = (Mock)(object)admin;
        var context = new HealthCheckContext
        {
            Registration = new HealthCheckRegistration("x", _ => null!, HealthStatus.Degraded, []),
        };
        var check = new BrokerHealthCheck(admin, TimeSpan.FromMilliseconds(200));

        Answer(static () => Cluster(leader: 1));
        Assert.Equal(HealthStatus.Healthy, (await check.CheckHealthAsync(context, Test)).Status);

        Answer(static () => Cluster(leader: 0));
        var orphan = await check.CheckHealthAsync(context, Test);
        Assert.Equal(HealthStatus.Degraded, orphan.Status);
        Assert.Contains("1 of 2 shards have no leader", orphan.Description, StringComparison.Ordinal);

        Answer(static () => throw new BrokerClientException("away", BrokerClientErrorCode.Unavailable));
        Assert.Equal(
            (HealthStatus.Degraded, "away"),
            ((await check.CheckHealthAsync(context, Test)).Status, (await check.CheckHealthAsync(context, Test))
                .Description));

        mock.Calls[nameof(IBrokerAdmin.DescribeClusterAsync)] = static arguments =>
            new ValueTask<ClusterInfo>(HangAsync((CancellationToken)arguments[0]!));
        var silent = await check.CheckHealthAsync(context, Test);
        Assert.Equal("No broker answered in 0.2 s.", silent.Description);

        void Answer(Func<ClusterInfo> answer) =>
            mock.Calls[nameof(IBrokerAdmin.DescribeClusterAsync)] = _ => new ValueTask<ClusterInfo>(answer());
    }

    [Fact]
    public void A_refusal_says_when_to_come_back_and_whether_that_is_safe()
    {
        var overload = Failure(StatusMap.ToRpcException(
            new BrokerException(RefusalCode.Overloaded, "full", default, TimeSpan.FromMilliseconds(250))));
        Assert.Equal(
            (BrokerClientErrorCode.ResourceExhausted, TimeSpan.FromMilliseconds(250), true),
            (overload.Code, overload.RetryAfter, overload.IsTransient));

        var copy = overload.Copy();
        Assert.Equal(
            (overload.Message, overload.Code, overload.Reason, overload.RetryAfter),
            (copy.Message, copy.Code, copy.Reason, copy.RetryAfter));

        Assert.True(Failure(new RpcException(new Status(StatusCode.Unavailable, "away"))).IsTransient);
        Assert.False(Failure(new RpcException(new Status(StatusCode.InvalidArgument, "bad"))).IsTransient);
        Assert.False(Failure(new RpcException(new Status(StatusCode.Aborted, "who knows"))).IsTransient);

        static BrokerClientException Failure(RpcException error) =>
            ClientErrors.CallFailed("A call", 1, new Uri("http://a:1"), error, gaveUp: false);
    }

    private static BrokerRecord Record(long offset, string value) => new()
    {
        Topic = "orders",
        Offset = offset,
        Timestamp = DateTimeOffset.UnixEpoch,
        Value = System.Text.Encoding.UTF8.GetBytes(value),
    };

    private static ClusterInfo Cluster(int leader) => new(
        "c",
        1,
        [new NodeInfo(1, "broker-1", "http://a:1", true, 1)],
        [
            new ShardInfo(0, leader, 1, 1, 1, 1, "Follower") { Voters = [1, 2, 3] },

            // Of this one the node that answers has no replica.
            new ShardInfo(1, 0, 1, 1, 1, 1, "") { Voters = [2, 3, 4] },
        ]);

    private static async Task<ClusterInfo> HangAsync(CancellationToken cancellationToken)
    {
        await Task.Delay(Timeout.Infinite, cancellationToken);
        return Cluster(1);
    }

    /// <summary>Answers each call as the test says.</summary>
    public class Mock : DispatchProxy
    {
        internal Dictionary<string, Func<object?[], object?>> Calls { get; } = new(StringComparer.Ordinal);

        protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) =>
            Calls.TryGetValue(targetMethod!.Name, out var call)
                ? call(args ?? [])
                : throw new NotSupportedException(targetMethod.Name);
    }

    private sealed class MockedConsumer(IEnumerable<GroupRecord> records) : GroupConsumer
    {
        public override TimeSpan AckWait => TimeSpan.FromMinutes(1);

        public override IAsyncEnumerator<GroupRecord> GetAsyncEnumerator(CancellationToken cancellationToken) =>
            ReadAsync(cancellationToken).GetAsyncEnumerator(cancellationToken);

        public override ValueTask DisposeAsync() => ValueTask.CompletedTask;

        private async IAsyncEnumerable<GroupRecord> ReadAsync([EnumeratorCancellation] CancellationToken stop)
        {
            foreach (var record in records)
            {
                yield return record;
            }

            await Task.Delay(Timeout.Infinite, stop);
        }
    }
}
