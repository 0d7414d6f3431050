using Broker.Domain;

namespace Broker.Consensus;

/// <summary>What a leader is at this moment, for what it sends.</summary>
internal readonly record struct LeaderState(Term Term, LogIndex CommitIndex, long NowMs);

/// <summary>What a leader sends to a follower: as much of its log as what it knows of it asks for.</summary>
internal sealed class FollowerSender(RaftOptions options, RaftTimes times, RaftLog log, EntrySizes sizes, Outbox outbox)
{
    /// <summary>Sends all that may be sent now: a probe, a snapshot, or entries until the window is full.</summary>
    public void Replicate(Follower follower, in LeaderState leader)
    {
        if (follower.IsHeldBack(leader.NowMs))
        {
            follower.ForgetCommitNotice();
            return;
        }

        if (!follower.IsReplicating)
        {
            follower.ForgetCommitNotice();
            if (!follower.ProbeSent && follower.Loss is null)
            {
                SendProbe(follower, leader);
            }

            return;
        }

        while (follower.NextIndex <= log.LastIndex && follower.InFlightBytes < options.MaxInFlightBytes)
        {
            SendEntries(follower, leader);
        }

        // While entries flow they carry the commit index; that of the last one of a burst is told by an empty message,
        // so that reads on followers need not wait for a heartbeat. Where nobody waits for it, it waits for company.
        if (leader.CommitIndex != log.LastIndex || follower.SentCommitIndex >= leader.CommitIndex)
        {
            follower.ForgetCommitNotice();
        }
        else if (follower.IsCommitNoticeDue(leader.NowMs, times.CommitNoticeMs))
        {
            SendAppend(follower, 0, wantsAnswer: false, leader);
        }
    }

    /// <summary>Asks how far the follower is, without sending anything again.</summary>
    public void Ask(Follower follower, in LeaderState leader) => SendAppend(follower, 0, wantsAnswer: true, leader);

    /// <summary>Says that the leader lives.</summary>
    /// <param name="follower">Whom.</param>
    /// <param name="readRound">The round of reads that its answer confirms; 0 for none.</param>
    /// <param name="areMembersSure">
    /// No earlier leader can change whether it votes: see <see cref="HollowWord"/>.
    /// </param>
    /// <param name="leader">Who says so.</param>
    public void SendHeartbeat(Follower follower, long readRound, bool areMembersSure, in LeaderState leader)
    {
        var (learnerSince, context) = follower.ToTell(leader.CommitIndex, readRound);
        outbox.Send(new RaftMessage
        {
            Kind = RaftMessageKind.Heartbeat,
            From = options.Id,
            To = follower.Id,
            Term = leader.Term,
            CommitIndex = LogIndex.Min(follower.MatchIndex, leader.CommitIndex),
            LearnerSince = learnerSince,
            Context = context,
            Hollow = areMembersSure && !follower.IsVoter ? follower.Hollow ?? 0 : 0,
        });
    }

    public void SendSnapshot(Follower follower, in LeaderState leader) => outbox.Send(new RaftMessage
    {
        Kind = RaftMessageKind.InstallSnapshot,
        From = options.Id,
        To = follower.Id,
        Term = leader.Term,
        LogIndex = log.BaseIndex,
        LogTerm = log.Base.Term,
        CommitIndex = leader.CommitIndex,
    });

    private void SendProbe(Follower follower, in LeaderState leader)
    {
        if (follower.NextIndex > log.BaseIndex)
        {
            SendEntries(follower, leader);
            return;
        }

        follower.BecomeInstalling(log.BaseIndex, leader.NowMs + times.SnapshotMs);
        SendSnapshot(follower, leader);
    }

    /// <summary>
    /// Sends entries from the follower's next index on: as many as one message may hold, none when there are none.
    /// </summary>
    private void SendEntries(Follower follower, in LeaderState leader)
    {
        var first = follower.NextIndex;
        var count = sizes.CountFitting(first, log.LastIndex, options.MaxAppendBytes, out var sizeBytes);
        SendAppend(follower, count, wantsAnswer: count == 0, leader);
        follower.Sent(first.Previous() + count, sizeBytes);
    }

    private void SendAppend(Follower follower, int count, bool wantsAnswer, in LeaderState leader)
    {
        var previous = follower.NextIndex.Previous();
        follower.SentCommit(leader.CommitIndex);
        outbox.Send(new RaftMessage
        {
            Kind = RaftMessageKind.AppendEntries,
            From = options.Id,
            To = follower.Id,
            Term = leader.Term,
            LogIndex = previous,
            LogTerm = log.TermAt(previous),
            CommitIndex = leader.CommitIndex,
            EntryCount = count,
            EntryTerms = log.TermsOf(follower.NextIndex, count),
            Context = wantsAnswer ? 1 : 0,
        });
    }
}
