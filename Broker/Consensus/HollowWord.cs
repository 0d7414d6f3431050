using Broker.Domain;

namespace Broker.Consensus;

/// <summary>
/// What a learner says of itself that does not keep all that the log's entries say (is hollow), or wants to give it up.
/// No voter may be hollow, as a committed entry is to be whole on the disks of a majority. So nothing is given up
/// before the leader of the current term has answered that it knows, and nobody makes it a voter before it has said
/// that it is whole again.
/// <para>The leader answers so only while its configuration has this replica as a learner, that configuration has
/// committed, and so has an entry of its own term. Why nobody makes it a voter then: not this leader, who has heard it,
/// and has not done so before. Not a later one: its first word of this replica is an answer in its own term, which
/// tells the number. And no entry by which an earlier leader did can come back: a log that has it lacks what this
/// leader has committed, and wins no election (Leader Completeness, Raft thesis 3.6.3). Messages between two nodes keep
/// their order, so an earlier word, that it is whole, does not come after a later one.</para>
/// </summary>
internal sealed class HollowWord(Random random)
{
    private (long Number, Term Term) _heard;

    /// <summary>Drawn anew each time it becomes hollow, and at each start; 0: it keeps all.</summary>
    public long Number { get; private set; }

    public void Set(bool isHollow)
    {
        if (isHollow != (Number != 0))
        {
            Number = isHollow ? random.NextInt64(1, long.MaxValue) : 0;
        }
    }

    /// <summary>A leader's heartbeat, of the current term.</summary>
    public void Hear(in RaftMessage heartbeat)
    {
        if (heartbeat.Hollow != 0)
        {
            _heard = (heartbeat.Hollow, heartbeat.Term);
        }
    }

    /// <summary>Whether the leader of a term has answered to the number that holds now.</summary>
    public bool IsKnownIn(Term term) => Number != 0 && _heard == (Number, term);
}
