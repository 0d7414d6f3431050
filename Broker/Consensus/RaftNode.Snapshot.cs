using Broker.Domain;

namespace Broker.Consensus;

/// <content>
/// Dropping the log's beginning, and bringing a follower that is behind it up by a snapshot (Raft thesis 5.1).
/// </content>
public sealed partial class RaftNode
{
    /// <summary>
    /// The log begins after this index from now on; there is a snapshot of exactly it. Nothing for an index that was
    /// dropped before.
    /// </summary>
    public void CompactThrough(LogIndex index)
    {
        if (index <= _log.BaseIndex)
        {
            return;
        }

        Invariant.Check(index <= _commitIndex, "only what is committed is dropped");
        _log.CompactThrough(index);
        foreach (var follower in _followers)
        {
            _replicationDue |= follower.TrySkipTo(index);
        }
    }

    /// <summary>
    /// The transfer of a snapshot to a follower ended. When it failed, the follower is tried again after its next
    /// answer to a heartbeat; when it arrived, its acknowledgement follows.
    /// </summary>
    public void ReportSnapshot(NodeId to, bool sent)
    {
        if (Role != RaftRole.Leader || _followers.Find(to) is not { IsInstalling: true } follower)
        {
            return;
        }

        if (sent)
        {
            follower.AwaitSnapshot(_nowMs + _times.SnapshotMs);
        }
        else
        {
            follower.GiveUpSnapshot(_log.BaseIndex);
        }
    }

    /// <summary>
    /// Asks the leader for the snapshot at its base, which helps when it lies beyond an entry: the caller cannot read
    /// the entry after that one in its own log, and those who dropped theirs cannot give it any more. The log stays as
    /// it is; the snapshot is one of entries that it holds. Nothing when nobody is known to lead.
    /// </summary>
    public void RequestSnapshot(LogIndex beyond)
    {
        if (Role == RaftRole.Follower && !Leader.IsNone && !_damage.IsLost)
        {
            Send(MessageTo(Leader, RaftMessageKind.RequestSnapshot) with { LogIndex = beyond });
        }
    }

    /// <summary>
    /// What is known about the follower's log stays, and entries flow on beside the snapshot: the follower lacks none.
    /// It asks again when the snapshot does not arrive.
    /// </summary>
    private void HandleRequestSnapshot(RaftMessage message)
    {
        if (Role == RaftRole.Leader && _log.BaseIndex > message.LogIndex
            && _followers.Find(message.From) is { Loss: null, IsInstalling: false } follower)
        {
            _sender.SendSnapshot(follower, AsLeader);
        }
    }

    private void HandleInstallSnapshot(RaftMessage message)
    {
        HearLeader(message.From);
        if (_damage.IsLost)
        {
            ReportLoss(RaftMessageKind.AppendEntriesResponse);
            return;
        }

        var position = new LogPosition(message.LogIndex, message.LogTerm);
        Invariant.Check(position.Index > LogIndex.None && position.Term > Term.None, "a snapshot has a position");
        if (position.Index <= LogIndex.Max(_commitIndex, _log.BaseIndex))
        {
            // Late, or sent twice: the log never goes back to an older snapshot.
            if (IsForkedAt(position.Index, position.Term))
            {
                GiveUpLog();
                return;
            }

            VerifyThrough(IsBehindRecovery ? position.Index : LogIndex.Max(_commitIndex, _log.BaseIndex));
        }
        else if (_log.Contains(position.Index, position.Term))
        {
            // The log holds what the snapshot stands for, and keeps what follows (Raft paper, figure 13, step 6).
            VerifyThrough(position.Index);
        }
        else
        {
            ReplaceLog(position, message);
        }

        _leaderCommitIndex = LogIndex.Max(
            _leaderCommitIndex, LogIndex.Max(position.Index, message.CommitIndex));
        if (MatchIndex >= position.Index)
        {
            SendAcknowledgement();
        }

        CommitAsFollower();
    }

    private void ReplaceLog(LogPosition position, RaftMessage message)
    {
        Invariant.Check(message.Configurations.Count == 1, "a snapshot comes with its configuration");
        var configuration = message.Configurations[0];
        Invariant.Check(configuration.Index <= position.Index, "a snapshot holds its configuration");
        _log.Reset(position);
        _disk.ReplaceLog(position, _commitIndex);
        VerifyThrough(position.Index);
        _configurations.ReplaceAll(configuration);
    }
}
