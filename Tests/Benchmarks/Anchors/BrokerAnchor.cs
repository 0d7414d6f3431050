using Broker.Client;

namespace Broker.Tests.Benchmarks.Anchors;

/// <summary>Our own brokers: a queue is a topic and a group that follows it.</summary>
internal sealed class BrokerAnchor(BrokerCluster cluster) : IAnchor
{
    private readonly BrokerClient _client = new(new BrokerClientOptions { Addresses = cluster.Addresses });

    public static async Task<IAnchor> StartAsync(string folder, CancellationToken cancellationToken)
    {
        var broker = Path.Combine(AppContext.BaseDirectory, "Broker.dll");
        var anchor = new BrokerAnchor(await BrokerCluster.StartAsync([broker], folder, cancellationToken));
        try
        {
            await anchor.WaitAsync(cancellationToken);
            return anchor;
        }
        catch
        {
            await anchor.DisposeAsync();
            throw;
        }
    }

    public bool HasGroups => true;

    public bool AcksTogether => true;

    public AckProof Acks => AckProof.Answered;

    public double CpuSeconds() => cluster.CpuSeconds();

    public async Task MakeQueueAsync(string queue, CancellationToken cancellationToken)
    {
        await _client.CreateTopicAsync(queue, cancellationToken: cancellationToken);
        await _client.CreateGroupAsync(queue, new GroupSettings { Filters = [queue] }, null, cancellationToken);
    }

    public Task<IAnchorPublisher> PublisherAsync(string queue, CancellationToken cancellationToken) =>
        Task.FromResult<IAnchorPublisher>(new Publisher(Connect(0), queue));

    public async Task ConsumeAsync(AnchorMember member, CancellationToken stop)
    {
        if (member.Together)
        {
            // As credit counts what is on its way, not what is unacknowledged, it is the same bound.
            await GroupVerb.MemberAsync(
                cluster.Addresses[member.Number % BrokerCluster.Nodes],
                member.Queue,
                AnchorLimits.Prefetch,
                static _ => { },
                count => member.Settled((int)count),
                stop);
            return;
        }

        await using var client = Connect(member.Number);
        await using var consumer = await client.ConsumeAsync(
            member.Queue, new ConsumeOptions { MaxUnsettledRecords = AnchorLimits.Prefetch }, stop);
        var failure = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var consuming = Task.Run(
            async () =>
            {
                await foreach (var record in consumer.WithCancellation(stop))
                {
                    member.Received(record.Record.Value);
                    _ = AckAsync(record);
                }
            },
            stop);
        await await Task.WhenAny(consuming, failure.Task);

        async Task AckAsync(GroupRecord record)
        {
            try
            {
                if (await record.AckAsync(CancellationToken.None))
                {
                    member.Settled(1);
                }
            }
            catch (Exception error) when (error is BrokerClientException or ObjectDisposedException)
            {
                failure.TrySetException(error);
            }
        }
    }

    public async Task<long> LeftAsync(string queue, CancellationToken cancellationToken) =>
        (await _client.DescribeGroupAsync(queue, cancellationToken)).Group.Lag;

    public async ValueTask DisposeAsync()
    {
        await _client.DisposeAsync();
        await cluster.DisposeAsync();
    }

    private Task WaitAsync(CancellationToken cancellationToken) => cluster.WaitForBalanceAsync(cancellationToken);

    private BrokerClient Connect(int first) => new(new BrokerClientOptions
    {
        Addresses = [.. Enumerable.Range(0, BrokerCluster.Nodes).Select(
            i => cluster.Addresses[(first + i) % BrokerCluster.Nodes])],
    });

    private sealed class Publisher(BrokerClient client, string topic) : IAnchorPublisher
    {
        public async ValueTask<bool> PublishAsync(ReadOnlyMemory<byte> value)
        {
            try
            {
                await client.PublishAsync(topic, new BrokerMessage { Value = value }, CancellationToken.None);
                return true;
            }
            catch (BrokerClientException error)
            {
                throw new IOException(error.Message, error);
            }
        }

        public ValueTask DisposeAsync() => client.DisposeAsync();
    }
}
