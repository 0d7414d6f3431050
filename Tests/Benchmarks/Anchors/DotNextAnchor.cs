using System.Reflection;
using Broker.Tests.Benchmarks.Peer;
using DotNext.Net.Cluster.Consensus.Raft;

namespace Broker.Tests.Benchmarks.Anchors;

/// <summary>
/// A replicated log on DotNext.Net.Cluster that flushes before a follower answers, see the verb peer: one entry a
/// message, and nobody to share them.
/// </summary>
internal sealed class DotNextAnchor(DotNextLog log) : IAnchor
{
    public static readonly string Name = "DotNext " + typeof(RaftCluster).Assembly
        .GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion.Split('+')[0]
        + ", flushed, a log alone";

    public static async Task<IAnchor> StartAsync(string folder, CancellationToken cancellationToken) =>
        new DotNextAnchor(await DotNextLog.StartAsync(folder, new DotNextLogKind(true, default), cancellationToken));

    public bool HasGroups => false;

    public bool AcksTogether => false;

    public AckProof Acks => AckProof.AskedFor;

    public double CpuSeconds() => log.CpuSeconds();

    public Task MakeQueueAsync(string queue, CancellationToken cancellationToken) => Task.CompletedTask;

    public Task<IAnchorPublisher> PublisherAsync(string queue, CancellationToken cancellationToken) =>
        Task.FromResult<IAnchorPublisher>(new Publisher(log.Connect()));

    public Task ConsumeAsync(AnchorMember member, CancellationToken stop) =>
        throw new NotSupportedException("A log alone has no groups.");

    public Task<long> LeftAsync(string queue, CancellationToken cancellationToken) =>
        throw new NotSupportedException("A log alone has no groups.");

    public ValueTask DisposeAsync() => log.DisposeAsync();

    private sealed class Publisher(DotNextClient client) : IAnchorPublisher
    {
        public ValueTask<bool> PublishAsync(ReadOnlyMemory<byte> value) => client.PublishAsync(value);

        public ValueTask DisposeAsync() => client.DisposeAsync();
    }
}
