using Broker.Domain;

namespace Broker.Consensus;

/// <content>The follower's side of the log: verify, append, acknowledge, commit.</content>
public sealed partial class RaftNode
{
    /// <summary>
    /// This log is known to equal the current leader's up to here. Grows within a term, because a leader only appends;
    /// what it says about commits and what is acknowledged to it are clamped to it, so that a tail of another leader's
    /// never counts.
    /// </summary>
    private LogIndex _verifiedIndex;

    /// <summary>What the leader of this term was last told.</summary>
    private LogIndex _acknowledgedIndex;

    /// <summary>The highest commit index that any leader has told of a log that this one agreed with.</summary>
    private LogIndex _leaderCommitIndex;

    private LogIndex MatchIndex => LogIndex.Min(FlushedIndex, _verifiedIndex);

    private void HandleAppendEntries(in RaftMessage message)
    {
        Invariant.Check(message.EntryCount == message.EntryTerms.Count, "each entry that follows has its term");
        HearLeader(message.From);
        if (_damage.IsLost)
        {
            ReportLoss(RaftMessageKind.AppendEntriesResponse);
            return;
        }

        LeaderCommitIndex = LogIndex.Max(LeaderCommitIndex, message.CommitIndex);
        if (IsForkedAt(message.LogIndex, message.LogTerm))
        {
            GiveUpLog();
            return;
        }

        // Entries below the base are gone, and committed: every leader's log agrees with them.
        if (message.LogIndex >= _log.BaseIndex && !_log.Contains(message.LogIndex, message.LogTerm))
        {
            Invariant.Check(message.LogIndex > _commitIndex, "a leader's log holds every committed entry");
            var hint = _log.LastPossibleAgreement(message.LogIndex, message.LogTerm);
            if (hint < _log.BaseIndex && IsBehindRecovery)
            {
                GiveUpLog();
                return;
            }

            Invariant.Check(hint >= _log.BaseIndex, "a leader's log agrees with what is committed");
            Reject(message.LogIndex, hint);
            return;
        }

        var last = message.LogIndex + message.EntryCount;
        var agreed = AppendMissing(message);
        if (IsSuperseded)
        {
            return;
        }

        VerifyThrough(agreed);
        _leaderCommitIndex = LogIndex.Max(_leaderCommitIndex, message.CommitIndex);

        // What must still be flushed is acknowledged when it is; what was acknowledged before is told again, as it may
        // be lost.
        if (message.Context != 0 || (message.EntryCount > 0 && FlushedIndex >= last))
        {
            SendAcknowledgement();
        }

        CommitAsFollower();
    }

    /// <summary>
    /// Takes the entries that this log lacks, and returns the last index up to which it now agrees with the leader's:
    /// short of the message's end when a configuration must wait, see <see cref="LogConfigurations.CanAppend"/>. The
    /// rest is then sent again.
    /// </summary>
    private LogIndex AppendMissing(in RaftMessage message)
    {
        var nextConfiguration = 0;
        for (var i = 0; i < message.EntryCount; i++)
        {
            var index = message.LogIndex + (i + 1);
            var term = message.EntryTerms[i];
            var configuration = TakeConfigurationAt(message, index, ref nextConfiguration);
            if (index < _log.BaseIndex)
            {
                continue;
            }

            if (index <= _log.LastIndex)
            {
                if (_log.TermAt(index) == term)
                {
                    continue;
                }

                if (index <= _commitIndex && IsBehindRecovery)
                {
                    GiveUpLog();
                    return index.Previous();
                }

                Truncate(index);
            }

            Invariant.Check(term <= message.Term, "an entry is not newer than the leader that sends it");
            if (configuration is not null)
            {
                if (!CanAppendConfiguration)
                {
                    _configurationWaits = true;
                    return index.Previous();
                }

                _configurations.Append(configuration);
            }

            var appended = _log.Append(term);
            Invariant.Check(appended == index, "entries follow one another");
        }

        return message.LogIndex + message.EntryCount;
    }

    /// <summary>
    /// The leader's log agrees with this one up to an index, and with all that is committed in any case.
    /// </summary>
    private void VerifyThrough(LogIndex index)
    {
        if (index < _log.BaseIndex)
        {
            index = LogIndex.Max(_commitIndex, _log.BaseIndex);
        }

        _verifiedIndex = LogIndex.Max(_verifiedIndex, index);
    }

    private void Reject(LogIndex index, LogIndex hint) =>
        Send(MessageTo(Leader, RaftMessageKind.AppendEntriesResponse) with
        {
            LogIndex = index,
            LogTerm = _log.TermAt(hint),
            Reject = true,
            RejectHint = hint,
        });

    /// <summary>After a write: tells the leader of this term how much of its log is now durable here.</summary>
    private void AcknowledgeFlushed()
    {
        if (Role == RaftRole.Follower && !Leader.IsNone && MatchIndex > _acknowledgedIndex)
        {
            SendAcknowledgement();
        }

        if (_configurationWaits && CanAppendConfiguration)
        {
            AskForWaitingConfiguration();
        }
    }

    /// <summary>The leader believes that what follows is on its way; a rejection makes it send it again.</summary>
    private void AskForWaitingConfiguration()
    {
        _configurationWaits = false;
        if (Role == RaftRole.Follower && !Leader.IsNone && _verifiedIndex >= _log.BaseIndex)
        {
            Reject(_verifiedIndex.Next(), _verifiedIndex);
        }
    }

    private void SendAcknowledgement()
    {
        Invariant.Check(MatchIndex <= FlushedIndex, "only what is durable is acknowledged");
        _acknowledgedIndex = MatchIndex;

        // Written out, unlike rarer ones: a copy of a message is worth saving here.
        Send(new RaftMessage
        {
            Kind = RaftMessageKind.AppendEntriesResponse,
            From = Id,
            To = Leader,
            Term = Term,
            LogIndex = MatchIndex,
            RejectHint = _verifiedIndex,
            Force = AwaitsCommits,
        });
    }

    private void HandleHeartbeat(in RaftMessage message)
    {
        HearLeader(message.From);
        if (_damage.TryBecomePassive(message))
        {
            _disk.MarkHardStateChanged();
        }

        if (_damage.IsLost)
        {
            ReportLoss(RaftMessageKind.HeartbeatResponse);
            return;
        }

        _hollow.Hear(message);
        var context = _damage.TakeFenceAnswer(message);
        _leaderCommitIndex = LogIndex.Max(_leaderCommitIndex, message.CommitIndex);
        CommitAsFollower();
        Send(MessageTo(message.From, RaftMessageKind.HeartbeatResponse) with
        {
            LogIndex = MatchIndex,
            Context = context,
            Force = IsHampered,
            Hollow = _hollow.Number,
        });
    }

    private void CommitAsFollower()
    {
        var commit = LogIndex.Min(_leaderCommitIndex, MatchIndex);
        if (commit > _commitIndex)
        {
            _commitIndex = commit;
        }

        LiftRestrictions();
    }
}
