using Broker.Client;

namespace Broker.Tests.Benchmarks.Peer;

/// <summary>Our own brokers: the log is a topic.</summary>
internal sealed class BrokerLog : IReplicatedLog
{
    private const string Topic = "peer.load";

    private readonly BrokerCluster _cluster;

    private BrokerLog(BrokerCluster cluster) => _cluster = cluster;

    /// <param name="folder">Where the brokers keep their data.</param>
    /// <param name="balanced">Wait until leaders are where they stay, so that none moves during a load.</param>
    /// <param name="cancellationToken">Gives up waiting.</param>
    public static async Task<BrokerLog> StartAsync(string folder, bool balanced, CancellationToken cancellationToken)
    {
        var broker = Path.Combine(AppContext.BaseDirectory, "Broker.dll");
        var log = new BrokerLog(await BrokerCluster.StartAsync([broker], folder, cancellationToken));
        if (balanced)
        {
            await log._cluster.WaitForBalanceAsync(cancellationToken);
        }

        return log;
    }

    public Task<LoadResult> LoadAsync(LogLoad load, TimeSpan duration, CancellationToken cancellationToken) =>
        RunAsync(load.Name, Settings(load, duration), cancellationToken);

    /// <summary>
    /// As many messages unanswered, but each a request and an entry of its own. A topic has 16 requests under way at
    /// most, so there are 64 topics.
    /// </summary>
    public Task<LoadResult> UngatheredAsync(LogLoad load, TimeSpan duration, CancellationToken cancellationToken)
    {
        var settings = Settings(load, duration) with
        {
            Topics = [.. Enumerable.Range(0, 64).Select(topic => $"{Topic}.{topic}")],
            RecordsPerBatch = 1,
        };
        return RunAsync(load.Name, settings, cancellationToken);
    }

    public Task<LoadResult> FailoverAsync(CancellationToken cancellationToken) =>
        FailoverVerb.KillOnceAsync(_cluster, onLeader: true, cancellationToken);

    public async Task<KillResult> KillAllAsync(LogLoad load, TimeSpan duration, CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var settings = Settings(load, duration);
        int leader;
        Task<List<long>> publishing;
        await using (var client = settings.Connect())
        {
            publishing = NumberedLoad.RunAsync(
                settings.Window,
                number => client.PublishAsync(Topic, Message(number), CancellationToken.None),
                stop.Token);
            await Task.Delay(duration, cancellationToken);
            leader = await LoadVerbs.FindLeaderAsync(client, Topic, cancellationToken);
            await _cluster.KillAllAsync();
            await stop.CancelAsync();
        }

        var acknowledged = await publishing;
        await _cluster.StartAsync(
            [.. Enumerable.Range(0, BrokerCluster.Nodes).Where(node => node != leader)], cancellationToken);
        await _cluster.StartAsync([leader], cancellationToken);
        return NumberedLoad.Compare(acknowledged, 1, await ReadAllAsync(cancellationToken));
    }

    public ValueTask DisposeAsync() => _cluster.DisposeAsync();

    private static async Task<LoadResult> RunAsync(
        string mode, LoadSettings settings, CancellationToken cancellationToken)
    {
        await using var client = settings.Connect();
        await PublishLoad.WarmUpAsync(settings, client, cancellationToken);
        return await PublishLoad.RunAsync(mode, settings, client, cancellationToken);
    }

    /// <summary>
    /// The client is given single messages, as an application does it, and makes the batches: a window of 16 entries of
    /// 128 records is one of 2,048 messages.
    /// </summary>
    private LoadSettings Settings(LogLoad load, TimeSpan duration)
    {
        var settings = load.Settings(_cluster.Addresses, Topic, duration);
        return load.RecordsPerEntry == 1
            ? settings
            : settings with { RecordsPerBatch = load.RecordsPerEntry, Window = load.Window * load.RecordsPerEntry };
    }

    private static BrokerMessage Message(long number) => new() { Value = NumberedLoad.Entry(number, 1) };

    /// <summary>The topic up to a message that is published now, after which nothing is to be expected.</summary>
    private async Task<HashSet<long>> ReadAllAsync(CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(PeerLimits.Start);
        await using var client = new BrokerClient(new BrokerClientOptions { Addresses = _cluster.Addresses });
        var marker = await client.PublishAsync(Topic, Message(NumberedLoad.Marker), deadline.Token);
        var options = new ReadOptions { Follow = true, MaxRecords = checked((int)marker.Offset + 1) };
        var present = new HashSet<long>();
        await foreach (var record in client.ReadAsync(Topic, options, deadline.Token))
        {
            present.UnionWith(NumberedLoad.Numbers(record.Value));
        }

        return present.Contains(NumberedLoad.Marker)
            ? present
            : throw new InvalidOperationException(
                $"The topic was read up to offset {marker.Offset}, without the message that was published there.");
    }
}
