using Broker.Consensus;
using Broker.Domain;
using Broker.Replication;

namespace Broker.Tests.Unit.Replication;

/// <summary>The core of a group, for a piece that is tested alone and asks no Raft.</summary>
internal sealed class FakeLoop(TimeProvider time) : IGroupLoop
{
    public GroupId Id { get; } = new(1);

    public RaftNode Raft => throw new InvalidOperationException("This piece asks no Raft.");

    public long NowMs => (long)time.GetElapsedTime(0).TotalMilliseconds;

    public bool IsHollow => false;

    public int ConditionChanges { get; private set; }

    public void Resume(Action then) => then();

    public void ConditionChanged() => ConditionChanges++;

    public BrokerException RefuseAsFollower(NodeId leader) => Refusal.NoLeader(Id);
}
