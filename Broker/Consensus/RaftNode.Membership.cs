using Broker.Domain;

namespace Broker.Consensus;

/// <content>
/// Who takes part, and how that changes: one node at a time (Raft thesis 4.1), new nodes as learners first (4.2.1).
/// </content>
public sealed partial class RaftNode
{
    /// <summary>The latest in the log, committed or not: it holds from there on (Raft thesis 4.1).</summary>
    private GroupConfiguration _configuration = GroupConfiguration.None;

    /// <summary>
    /// The one before it, which holds again when the latest is truncated. One is enough: a leader appends a
    /// configuration only after the one before has committed, and what has committed is never truncated. Null: the
    /// latest cannot be truncated.
    /// </summary>
    private GroupConfiguration? _previousConfiguration;

    /// <summary>
    /// The disk does not know the configuration in force. It is told with the next write; of the one that a group
    /// begins with, that is the first term or vote.
    /// </summary>
    private bool _configurationUnsaved;

    private GroupConfiguration? _appendedConfiguration;

    /// <summary>A configuration was not appended, see <see cref="CanAppendConfiguration"/>.</summary>
    private bool _configurationWaits;

    /// <summary>Who takes part now.</summary>
    public GroupConfiguration Configuration => _configuration;

    private bool IsOnlyVoter => _configuration.Voters.Length == 1 && _configuration.Voters[0] == Id;

    private int Majority => (_configuration.Voters.Length / 2) + 1;

    /// <summary>
    /// The disk learns of a configuration before the log does, and remembers two. So the next one waits until the
    /// latest is in the log on the disk; otherwise a crash between the two writes could leave a log that ends before
    /// both, and nothing would tell which configuration holds there.
    /// </summary>
    private bool CanAppendConfiguration => _configuration.Index <= FlushedIndex;

    /// <summary>
    /// Changes who takes part, by an entry that is replicated as any other and holds at once. Refused unless the change
    /// before has committed, and an entry of this leader's term has: otherwise two leaders could each go one step from
    /// the same configuration, and their majorities need not overlap (Raft thesis 4.1, and Ongaro's correction to it of
    /// July 2015).
    /// </summary>
    public ProposeResult TryChangeConfiguration(MembershipChange change, out LogIndex index)
    {
        index = LogIndex.None;
        if (Role != RaftRole.Leader)
        {
            return ProposeResult.NotLeader;
        }

        if (!_transferTarget.IsNone)
        {
            return ProposeResult.TransferringLeadership;
        }

        if (!HasCommittedInTerm)
        {
            return ProposeResult.NotReady;
        }

        if (_configuration.Index > _commitIndex)
        {
            return ProposeResult.ChangeInProgress;
        }

        if (ConfigurationAfter(change) is not { } next)
        {
            return ProposeResult.InvalidChange;
        }

        index = AppendAsLeader(LogEntry.OverheadBytes + next.Encode().Length);
        Invariant.Check(index == next.Index && CanAppendConfiguration, "configurations follow one another");
        _appendedConfiguration = next;
        AdoptConfiguration(next, _configuration);
        FollowMembers();
        if (change.Kind == MembershipChangeKind.AddLearner)
        {
            FindFollower(change.Node)!.LearnerSince = index;
        }

        ReleaseConfirmedReads();

        return ProposeResult.Accepted;
    }

    private void RecoverConfiguration(RaftInitialState initial)
    {
        // What a replica knew of its group is gone with its disk, and the group may have changed since it began.
        var first = initial.HardState.PassiveUntil == LogIndex.None
            ? new GroupConfiguration(LogIndex.None, _options.Voters, [])
            : GroupConfiguration.None;
        _configuration = initial.Configuration ?? first;
        _previousConfiguration = initial.PreviousConfiguration;
        _configurationUnsaved = initial.Configuration is null;
        if (_configuration.Index <= initial.LastIndex)
        {
            return;
        }

        if (_previousConfiguration is not null && _previousConfiguration.Index <= initial.LastIndex)
        {
            AdoptConfiguration(_previousConfiguration, null);
            return;
        }

        // Damage cut the log before both. Which one holds there is not known, and need not be: the replica does not
        // campaign before its log reaches the fence, and on the way there it takes in at least the older of the two,
        // which has committed.
        Invariant.Check(
            initial.Fence != LogPosition.None, "the configuration on disk is at most one ahead of the log on disk");
        AdoptConfiguration(GroupConfiguration.None, null);
    }

    private GroupConfiguration? ConfigurationAfter(MembershipChange change)
    {
        var at = _log.LastIndex.Next();
        var voters = _configuration.Voters;
        var learners = _configuration.Learners;
        var node = change.Node;
        return change.Kind switch
        {
            MembershipChangeKind.AddLearner when CanAddLearner(node) =>
                new GroupConfiguration(at, voters, learners.Remove(node).Add(node)),
            MembershipChangeKind.Promote when CanPromote(node) =>
                new GroupConfiguration(at, voters.Add(node), learners.Remove(node)),
            MembershipChangeKind.Remove when CanRemove(node) =>
                new GroupConfiguration(at, voters.Remove(node), learners.Remove(node)),
            _ => null,
        };
    }

    private bool CanAddLearner(NodeId node)
    {
        if (_configuration.IsLearner(node))
        {
            return AwaitsChange(FindFollower(node)!);
        }

        var members = _configuration.Voters.Length + _configuration.Learners.Length;
        return node.Value > 0 && node != Id && !_configuration.IsVoter(node)
            && members < GroupConfiguration.MaxMembers;
    }

    private bool CanPromote(NodeId node) => _configuration.IsLearner(node) && IsCaughtUp(FindFollower(node)!);

    /// <summary>
    /// A voter goes only when a majority of those that remain answer and have lost nothing: the change itself needs
    /// them, and could not be undone without them.
    /// </summary>
    private bool CanRemove(NodeId node)
    {
        if (!_configuration.IsVoter(node))
        {
            return _configuration.IsLearner(node);
        }

        var answering = _configuration.IsVoter(Id) && node != Id ? 1 : 0;
        foreach (var follower in _followers)
        {
            var stays = follower.IsVoter && follower.Id != node;
            answering += stays && follower.Loss is null && IsRecentlyActive(follower) ? 1 : 0;
        }

        return answering > (_configuration.Voters.Length - 1) / 2;
    }

    private void AdoptConfiguration(GroupConfiguration configuration, GroupConfiguration? previous)
    {
        Invariant.Check(
            previous is null || previous.Index < configuration.Index, "a configuration comes after the one before it");
        _configuration = configuration;
        _previousConfiguration = previous;
        _configurationUnsaved = true;
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

    private void TruncateConfigurations(LogIndex from)
    {
        if (_appendedConfiguration is { } appended && appended.Index >= from)
        {
            _appendedConfiguration = null;
        }

        if (_configuration.Index >= from)
        {
            Invariant.Check(
                _previousConfiguration is not null && _previousConfiguration.Index < from,
                "only the latest configuration can be truncated");
            AdoptConfiguration(_previousConfiguration, null);
        }
    }

    private void TakeConfigurationToPersist(bool hasWork)
    {
        var isTold = hasWork && _configurationUnsaved;
        _ready.Configuration = isTold ? _configuration : null;
        _ready.PreviousConfiguration = isTold ? _previousConfiguration : null;
        _ready.AppendedConfiguration = _appendedConfiguration;
        _appendedConfiguration = null;
        _configurationUnsaved &= !isTold;
    }

    /// <summary>Makes the leader's followers those of the configuration in force.</summary>
    private void FollowMembers()
    {
        for (var i = _followers.Count - 1; i >= 0; i--)
        {
            if (!_configuration.Contains(_followers[i].Id))
            {
                // Who goes is sent the entry that says so, once: with luck it then stops asking for elections.
                ReplicateTo(_followers[i]);
                _followers.RemoveAt(i);
            }
        }

        foreach (var voter in _configuration.Voters)
        {
            Follow(voter, isVoter: true);
        }

        foreach (var learner in _configuration.Learners)
        {
            Follow(learner, isVoter: false);
        }
    }

    private void Follow(NodeId member, bool isVoter)
    {
        if (member == Id)
        {
            return;
        }

        if (FindFollower(member) is { } follower)
        {
            follower.IsVoter = isVoter;
            return;
        }

        var loss = FindLoss(member);
        _followers.Add(new Follower(member, isVoter, _log.LastIndex.Next(), _nowMs)
        {
            Loss = loss is { IsOver: false } ? loss : null,
        });
    }

    /// <summary>
    /// A leader that is no voter any more steps down when that has committed (Raft thesis 4.2.2). The voter that is
    /// furthest is told to campaign, so that the group need not wait out a timeout.
    /// </summary>
    private void StepDownWhenRemoved()
    {
        if (_configuration.IsVoter(Id) || _commitIndex < _configuration.Index)
        {
            return;
        }

        Follower? furthest = null;
        foreach (var follower in _followers)
        {
            if (follower.IsVoter && (furthest is null || follower.MatchIndex > furthest.MatchIndex))
            {
                furthest = follower;
            }
        }

        Invariant.Check(furthest is not null, "the last voter is never removed");
        Send(new RaftMessage { Kind = RaftMessageKind.TimeoutNow, From = Id, To = furthest.Id, Term = Term });
        BecomeFollower(Term, NodeId.None);
    }
}
