namespace Broker.Domain;

/// <summary>A node's number in the cluster, from 1; 0 means none. Persisted with its disk, never reused.</summary>
public readonly record struct NodeId(int Value)
{
    public static readonly NodeId None;

    public bool IsNone => Value == 0;

    public override string ToString() => Value.ToString(System.Globalization.CultureInfo.InvariantCulture);
}

/// <summary>A Raft group's number: 0 is the cluster's metadata, data shards follow.</summary>
public readonly record struct GroupId(int Value)
{
    public static readonly GroupId Metadata;

    public override string ToString() => Value.ToString(System.Globalization.CultureInfo.InvariantCulture);
}
