using Broker.Replication;
using Broker.State;

namespace Broker.ClusterState;

/// <summary>The state of group 0, which every node of the cluster holds.</summary>
public sealed class MetadataStateMachine : ModularStateMachine
{
    private const byte SnapshotKind = (byte)'M';
    private const byte LastFormerFormat = 2;

    private readonly ClusterModule _cluster;

    /// <param name="changed">See <see cref="ClusterModule"/>.</param>
    public MetadataStateMachine(Action<ClusterMetadata>? changed = null)
        : this(new ClusterModule(changed))
    {
    }

    private MetadataStateMachine(ClusterModule cluster)
        : base(SnapshotKind, cluster)
    {
        _cluster = cluster;
    }

    /// <summary>The state after the last applied entry, for any thread.</summary>
    public ClusterMetadata Current => _cluster.Current;

    public override IStateMachine MakeShadow() => new MetadataStateMachine();

    private protected override bool IsFormerFormat(byte format) => format is > 0 and <= LastFormerFormat;

    private protected override bool HasTimestamp(byte format) => format > LastFormerFormat;
}
