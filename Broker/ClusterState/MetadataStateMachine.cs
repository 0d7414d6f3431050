using Broker.Replication;
using Broker.State;

namespace Broker.ClusterState;

/// <summary>The state of group 0, which every node of the cluster holds.</summary>
public sealed class MetadataStateMachine : ModularStateMachine
{
    private const byte SnapshotKind = (byte)'M';
    private const byte LastFormerFormat = 2;

    private readonly ClusterModule _cluster;
    private readonly MemberModule _members;

    /// <param name="changed">See <see cref="ClusterModule"/>.</param>
    /// <param name="membersChanged">See <see cref="MemberModule"/>.</param>
    public MetadataStateMachine(
        Action<ClusterMetadata>? changed = null, Action<ClusterMembers>? membersChanged = null)
        : this(new ClusterModule(changed), membersChanged)
    {
    }

    private MetadataStateMachine(ClusterModule cluster, Action<ClusterMembers>? membersChanged)
        : this(cluster, new MemberModule(cluster, membersChanged))
    {
    }

    private MetadataStateMachine(ClusterModule cluster, MemberModule members)
        : base(SnapshotKind, cluster, members)
    {
        _cluster = cluster;
        _members = members;
    }

    /// <summary>The state after the last applied entry, for any thread.</summary>
    public ClusterMetadata Current => _cluster.Current;

    /// <summary>The members after the last applied entry, for any thread.</summary>
    public ClusterMembers Members => _members.Current;

    public override IStateMachine MakeShadow() => new MetadataStateMachine();

    private protected override bool IsFormerFormat(byte format) => format is > 0 and <= LastFormerFormat;

    private protected override bool HasTimestamp(byte format) => format > LastFormerFormat;
}
