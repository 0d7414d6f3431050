using Broker.Domain;

namespace Broker.Consensus;

/// <content>
/// Who takes part, and how that changes: one node at a time (Raft thesis 4.1), new nodes as learners first (4.2.1).
/// </content>
public sealed partial class RaftNode
{
    private readonly LogConfigurations _configurations;

    /// <summary>A configuration was not appended, see <see cref="LogConfigurations.CanAppend"/>.</summary>
    private bool _configurationWaits;

    /// <summary>Who takes part now.</summary>
    public GroupConfiguration Configuration => _configurations.Latest;

    /// <summary>No earlier leader can undo the members that hold, nor any change of them be under way.</summary>
    private bool AreMembersSure => HasCommittedInTerm && Configuration.Index <= _commitIndex;

    private bool IsOnlyVoter => Configuration.Voters.Length == 1 && Configuration.Voters[0] == Id;

    private bool CanAppendConfiguration => _configurations.CanAppend(FlushedIndex);

    /// <summary>
    /// Changes who takes part, by an entry that is replicated as any other and holds at once. When that is refused, see
    /// <see cref="MembershipRules"/>.
    /// </summary>
    public ProposeResult TryChangeConfiguration(MembershipChange change, out LogIndex index)
    {
        index = LogIndex.None;
        if (Role != RaftRole.Leader)
        {
            return ProposeResult.NotLeader;
        }

        if (_transfer.IsUnderWay)
        {
            return ProposeResult.TransferringLeadership;
        }

        var rules = new MembershipRules(_followers, _commitIndex, HasCommittedInTerm, _nowMs);
        var result = rules.Apply(change, _log.LastIndex.Next(), out var next);
        if (result != ProposeResult.Accepted)
        {
            return result;
        }

        index = AppendAsLeader(LogEntry.OverheadBytes + next.Encode().Length);
        Invariant.Check(index == next.Index && CanAppendConfiguration, "configurations follow one another");
        _configurations.AppendOwn(next);
        FollowMembers();
        if (change.Kind == MembershipChangeKind.AddLearner)
        {
            _followers.Find(change.Node)!.LearnerSince = index;
        }

        ReleaseConfirmedReads();
        return ProposeResult.Accepted;
    }

    /// <summary>The configuration among a message's entries that is at an index, if there is one.</summary>
    private static GroupConfiguration? TakeConfigurationAt(in RaftMessage message, LogIndex index, ref int next)
    {
        if (next >= message.Configurations.Count || message.Configurations[next].Index != index)
        {
            return null;
        }

        return message.Configurations[next++];
    }

    /// <summary>Makes the leader's followers those of the configuration in force.</summary>
    private void FollowMembers()
    {
        foreach (var follower in _followers)
        {
            if (!Configuration.Contains(follower.Id))
            {
                // Who goes is sent the entry that says so, once: with luck it then stops asking for elections.
                _sender.Replicate(follower, AsLeader);
            }
        }

        _followers.Adopt(Configuration, _log.LastIndex.Next(), _nowMs);
    }

    /// <summary>
    /// A leader that is no voter any more steps down when that has committed (Raft thesis 4.2.2). The voter that is
    /// furthest is told to campaign, so that the group need not wait out a timeout.
    /// </summary>
    private void StepDownWhenRemoved()
    {
        if (Configuration.IsVoter(Id) || _commitIndex < Configuration.Index)
        {
            return;
        }

        Send(MessageTo(_followers.FurthestVoter().Id, RaftMessageKind.TimeoutNow));
        BecomeFollower(Term, NodeId.None);
    }
}
