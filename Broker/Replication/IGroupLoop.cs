using Broker.Consensus;
using Broker.Domain;

namespace Broker.Replication;

/// <summary>
/// What the pieces of a group may ask of its core. All of it belongs to the loop's turn, but what says otherwise.
/// </summary>
internal interface IGroupLoop
{
    GroupId Id { get; }

    /// <summary>
    /// The Raft node. A piece asks it, reports to it and proposes to it; it is stepped, and what it says is carried
    /// out, by the core alone.
    /// </summary>
    RaftNode Raft { get; }

    /// <summary>The time since some moment in the past; it never goes back. Any thread.</summary>
    long NowMs { get; }

    /// <summary>There are hollow segments of which something is wanted, or one is about to become hollow.</summary>
    bool IsHollow { get; }

    /// <summary>Has the loop go on with something that was waited for. Any thread.</summary>
    void Resume(Action then);

    /// <summary>Something that <see cref="GroupCondition"/> tells is not as it was.</summary>
    void ConditionChanged();

    /// <summary>What a caller hears of a replica that does not lead. Any thread.</summary>
    BrokerException RefuseAsFollower(NodeId leader);
}
