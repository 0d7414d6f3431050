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

    /// <summary>Makes the modules that stand behind the members; null: there are none.</summary>
    private readonly Func<StateModule[]>? _more;

    /// <param name="changed">See <see cref="ClusterModule"/>.</param>
    /// <param name="membersChanged">See <see cref="MemberModule"/>.</param>
    public MetadataStateMachine(
        Action<ClusterMetadata>? changed = null, Action<ClusterMembers>? membersChanged = null)
        : this(changed, membersChanged, more: null)
    {
    }

    /// <summary>The same with modules of other rooms behind the members.</summary>
    internal MetadataStateMachine(
        Action<ClusterMetadata>? changed, Action<ClusterMembers>? membersChanged, Func<StateModule[]>? more)
        : this(new ClusterModule(changed), membersChanged, more)
    {
    }

    private MetadataStateMachine(
        ClusterModule cluster, Action<ClusterMembers>? membersChanged, Func<StateModule[]>? more)
        : this(cluster, new MemberModule(cluster, membersChanged), more)
    {
    }

    private MetadataStateMachine(ClusterModule cluster, MemberModule members, Func<StateModule[]>? more)
        : base(SnapshotKind, [cluster, members, .. more?.Invoke() ?? []])
    {
        _cluster = cluster;
        _members = members;
        _more = more;
    }

    /// <summary>The state after the last applied entry, for any thread.</summary>
    public ClusterMetadata Current => _cluster.Current;

    /// <summary>The members after the last applied entry, for any thread.</summary>
    public ClusterMembers Members => _members.Current;

    public override IStateMachine MakeShadow() => new MetadataStateMachine(changed: null, null, _more);

    private protected override bool IsFormerFormat(byte format) => format is > 0 and <= LastFormerFormat;

    private protected override bool HasTimestamp(byte format) => format > LastFormerFormat;
}
