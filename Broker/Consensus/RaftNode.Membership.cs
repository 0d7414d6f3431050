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

    /// <summary>
    /// The disk learns of a configuration before the log does, and remembers two. So the next one waits until the
    /// latest is in the log on the disk; otherwise a crash between the two writes could leave a log that ends before
    /// both, and nothing would tell which configuration holds there.
    /// </summary>
    private bool CanAppendConfiguration => _configuration.Index <= FlushedIndex;

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

        if (!_transferTarget.IsNone)
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
        _appendedConfiguration = next;
        AdoptConfiguration(next, _configuration);
        FollowMembers();
        if (change.Kind == MembershipChangeKind.AddLearner)
        {
            _followers.Find(change.Node)!.LearnerSince = index;
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
        foreach (var follower in _followers)
        {
            if (!_configuration.Contains(follower.Id))
            {
                // Who goes is sent the entry that says so, once: with luck it then stops asking for elections.
                ReplicateTo(follower);
            }
        }

        _followers.Adopt(_configuration, _log.LastIndex.Next(), _nowMs);
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

        var heir = _followers.FurthestVoter().Id;
        Send(new RaftMessage { Kind = RaftMessageKind.TimeoutNow, From = Id, To = heir, Term = Term });
        BecomeFollower(Term, NodeId.None);
    }
}
