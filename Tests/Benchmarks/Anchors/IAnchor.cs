namespace Broker.Tests.Benchmarks.Anchors;

/// <summary>
/// Three nodes of a message broker on this machine, with clients in this process: what our brokers are measured beside.
/// A "queue" is whatever keeps messages on all three nodes and hands them out to a group's members.
/// </summary>
internal interface IAnchor : IAsyncDisposable
{
    /// <summary>Whether members can share a queue; without it only publishing is measured.</summary>
    bool HasGroups { get; }

    /// <summary>Whether many messages can be acknowledged by one request.</summary>
    bool AcksTogether { get; }

    /// <summary>By what it is known that messages are acknowledged: then a measure ends.</summary>
    AckProof Acks { get; }

    /// <summary>Processor seconds that the nodes have used since they started.</summary>
    double CpuSeconds();

    /// <summary>Makes an empty queue, with three replicas, on disk.</summary>
    Task MakeQueueAsync(string queue, CancellationToken cancellationToken);

    /// <summary>
    /// A client that publishes to a queue, connected to the node that leads it if that matters. Each publish is
    /// answered when the brokers confirm it; it fails as an <see cref="IOException"/>.
    /// </summary>
    /// <param name="queue">An existing queue.</param>
    /// <param name="cancellationToken">Gives up.</param>
    Task<IAnchorPublisher> PublisherAsync(string queue, CancellationToken cancellationToken);

    /// <summary>
    /// One member with a client of its own, by the broker's client library; it may hold 1,000 messages unacknowledged.
    /// Ends when it is told to, all acknowledgements sent and heard by its node.
    /// </summary>
    /// <param name="member">What it does.</param>
    /// <param name="stop">Ends it.</param>
    Task ConsumeAsync(AnchorMember member, CancellationToken stop);

    /// <summary>Messages of a queue that are not acknowledged, as its nodes say; members have ended.</summary>
    Task<long> LeftAsync(string queue, CancellationToken cancellationToken);
}

/// <summary>By what it is known that messages are acknowledged.</summary>
internal enum AckProof
{
    /// <summary>Each acknowledgement is answered when it is stored.</summary>
    Answered,

    /// <summary>The nodes can say at any time how many are left.</summary>
    AskedFor,

    /// <summary>Only that a node has read them; the nodes' own count comes later, outside the measure.</summary>
    Sent,
}

/// <summary>Publishes to one queue.</summary>
internal interface IAnchorPublisher : IAsyncDisposable
{
    /// <summary>True when it is confirmed.</summary>
    ValueTask<bool> PublishAsync(ReadOnlyMemory<byte> value);
}

/// <param name="Queue">An existing queue.</param>
/// <param name="Number">From 0; members are connected to the nodes in turn.</param>
/// <param name="Together">Acknowledge many by one request, as far as the contract lets it.</param>
/// <param name="Received">Is given each message; with Together maybe none, see Settled.</param>
/// <param name="Settled">Is given how many more were acknowledged (answered, where that is answered).</param>
internal sealed record AnchorMember(
    string Queue, int Number, bool Together, Action<ReadOnlyMemory<byte>> Received, Action<int> Settled);

/// <summary>What bounds the members of every broker alike.</summary>
internal static class AnchorLimits
{
    public const int Nodes = 3;
    public const int Prefetch = 1_000;

    /// <summary>Messages that one acknowledgement may stand for where a client chooses.</summary>
    public const int AckEvery = 250;

    public static readonly TimeSpan Start = TimeSpan.FromSeconds(90);
    public static readonly TimeSpan Answer = TimeSpan.FromSeconds(60);
    public static readonly TimeSpan AskAgain = TimeSpan.FromMilliseconds(100);
}
