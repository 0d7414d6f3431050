using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>
/// Leader 1 of term 2 with entries 1 to 20 of 100 bytes each, 300 bytes in a message and 600 in flight.
/// </summary>
public sealed class FollowerSenderTests
{
    private static readonly LeaderState Leader = new(new Term(2), new LogIndex(18), NowMs: 1_000);

    private readonly RaftLog _log = new(LogPosition.None, new LogIndex(20), [new(new LogIndex(1), new Term(2))]);
    private readonly Outbox _outbox = new(new DiskProgress(new LogIndex(20)));
    private readonly Follower _follower = new(new NodeId(2), isVoter: true, new LogIndex(21), nowMs: 0);
    private readonly FollowerSender _sender;

    public FollowerSenderTests() => _sender = SenderWithNotice(ms: 0);

    [Fact]
    public void Probe_of_the_logs_end_carries_nothing_and_asks()
    {
        _sender.Replicate(_follower, Leader);
        _sender.Replicate(_follower, Leader);

        var probe = Assert.Single(Take());
        Assert.Equal((20, 0, 1), (probe.LogIndex.Value, probe.EntryCount, probe.Context));
        Assert.Equal((new Term(2), new Term(2), 18), (probe.Term, probe.LogTerm, probe.CommitIndex.Value));
    }

    [Fact]
    public void Entries_flow_in_messages_that_fit_until_the_window_is_full()
    {
        Replicating(from: 10);

        _sender.Replicate(_follower, Leader);
        Assert.Equal([(10, 3), (13, 3)], Take().Select(m => (m.LogIndex.Value, m.EntryCount)));

        _follower.TryAdvance(new LogIndex(13));
        _sender.Replicate(_follower, Leader);
        Assert.Equal([(16, 3)], Take().Select(m => (m.LogIndex.Value, m.EntryCount)));
    }

    [Fact]
    public void Commit_of_the_last_entry_is_told_once_by_an_empty_message()
    {
        Replicating(from: 20);
        _sender.Replicate(_follower, Leader);
        Assert.Empty(Take());
        var committed = Leader with { CommitIndex = new LogIndex(20) };

        _sender.Replicate(_follower, committed);
        _sender.Replicate(_follower, committed);

        var told = Assert.Single(Take());
        Assert.Equal((0, 0, 20), (told.EntryCount, told.Context, told.CommitIndex.Value));
    }

    [Fact]
    public void Commit_of_the_last_entry_waits_for_a_next_one_where_nobody_waits_for_it()
    {
        var sender = SenderWithNotice(ms: 5);
        Replicating(from: 20);
        var committed = Leader with { CommitIndex = new LogIndex(20) };

        sender.Replicate(_follower, committed);
        sender.Replicate(_follower, committed with { NowMs = 1_004 });
        Assert.Equal(1_005, _follower.CommitNoticeDueMs);
        Assert.Empty(Take());

        sender.Replicate(_follower, committed with { NowMs = 1_005 });
        Assert.Equal((0, 20), Take().Select(m => (m.EntryCount, m.CommitIndex.Value)).Single());
        Assert.Equal(long.MaxValue, _follower.CommitNoticeDueMs);
    }

    [Fact]
    public void Next_entry_carries_the_commit_of_the_last_one()
    {
        var sender = SenderWithNotice(ms: 5);
        Replicating(from: 20);
        var committed = Leader with { CommitIndex = new LogIndex(20) };
        sender.Replicate(_follower, committed);
        _log.Append(new Term(2));

        sender.Replicate(_follower, committed);

        Assert.Equal((1, 20), Take().Select(m => (m.EntryCount, m.CommitIndex.Value)).Single());
        Assert.Equal(long.MaxValue, _follower.CommitNoticeDueMs);
    }

    [Fact]
    public void Commit_is_told_at_once_where_somebody_waits_for_it()
    {
        var sender = SenderWithNotice(ms: 5);
        Replicating(from: 20);
        _follower.AwaitsCommits = true;

        sender.Replicate(_follower, Leader with { CommitIndex = new LogIndex(20) });

        Assert.Single(Take());
    }

    /// <summary>A time that stays in the past would keep the loop awake.</summary>
    [Fact]
    public void Commit_is_not_due_while_a_full_window_or_a_probe_keeps_it()
    {
        var sender = SenderWithNotice(ms: 5);
        Replicating(from: 20);
        sender.Replicate(_follower, Leader with { CommitIndex = new LogIndex(20) });
        for (var i = 0; i < 10; i++)
        {
            _log.Append(new Term(2));
        }

        _follower.Sent(new LogIndex(26), 600);
        sender.Replicate(_follower, Leader with { CommitIndex = new LogIndex(21), NowMs = 1_010 });
        Assert.Equal(long.MaxValue, _follower.CommitNoticeDueMs);

        sender.Replicate(_follower, Leader with { CommitIndex = new LogIndex(30), NowMs = 1_010 });
        _follower.Pause(LogIndex.None);
        sender.Replicate(_follower, Leader with { CommitIndex = new LogIndex(30), NowMs = 1_020 });
        Assert.Equal(long.MaxValue, _follower.CommitNoticeDueMs);
    }

    [Fact]
    public void Learner_that_is_held_back_gets_nothing_until_its_time_is_over()
    {
        Replicating(from: 10);
        _follower.IsVoter = false;
        _follower.HoldBack(untilMs: 1_100);

        _sender.Replicate(_follower, Leader with { NowMs = 1_099 });
        Assert.Empty(Take());
        Assert.Equal(1_100, _follower.HeldUntilMs);

        _sender.Replicate(_follower, Leader with { NowMs = 1_100 });
        Assert.Equal(2, Take().Count);
        Assert.Equal(long.MaxValue, _follower.HeldUntilMs);
    }

    [Fact]
    public void Learner_that_becomes_a_voter_is_held_back_no_more()
    {
        Replicating(from: 10);
        _follower.IsVoter = false;
        _follower.HoldBack(untilMs: 1_100);
        _follower.IsVoter = true;

        _sender.Replicate(_follower, Leader);

        Assert.Equal(2, Take().Count);
        Assert.Equal(long.MaxValue, _follower.HeldUntilMs);
    }

    [Fact]
    public void Follower_behind_the_base_gets_the_snapshot_and_nothing_else_meanwhile()
    {
        _log.CompactThrough(new LogIndex(15));
        _follower.TryBackUp(new LogIndex(20), new LogPosition(new LogIndex(3), new Term(1)), _log);

        _sender.Replicate(_follower, Leader);
        _sender.Replicate(_follower, Leader);

        var snapshot = Assert.Single(Take());
        Assert.Equal((RaftMessageKind.InstallSnapshot, 15), (snapshot.Kind, snapshot.LogIndex.Value));
        Assert.True(_follower.IsInstalling);
        Assert.False(_follower.IsSnapshotLate(300_999));
        Assert.True(_follower.IsSnapshotLate(301_000));
    }

    [Fact]
    public void Follower_that_lost_its_log_is_sent_no_entries()
    {
        _follower.Lose(new ReplicaLoss(_follower.Id, number: 70, heardAt: new LogIndex(20)));

        _sender.Replicate(_follower, Leader);

        Assert.Empty(Take());
    }

    /// <summary>A follower may hold a tail of another leader's, which must not count as committed.</summary>
    [Fact]
    public void Heartbeat_tells_no_more_of_the_commit_index_than_the_follower_has_acknowledged()
    {
        Replicating(from: 10);
        _follower.TryAdvance(new LogIndex(12));
        _sender.SendHeartbeat(_follower, readRound: 4, areMembersSure: true, Leader);
        _follower.TryAdvance(new LogIndex(19));
        _sender.SendHeartbeat(_follower, readRound: 5, areMembersSure: true, Leader);

        Assert.Equal([(12, 4L), (18, 5L)], Take().Select(m => (m.CommitIndex.Value, m.Context)));
    }

    [Fact]
    public void Heartbeat_answers_a_learner_that_is_hollow_when_the_members_are_sure()
    {
        var learner = new Follower(new NodeId(3), isVoter: false, new LogIndex(21), nowMs: 0);
        _sender.SendHeartbeat(learner, readRound: 0, areMembersSure: true, Leader);
        learner.Hollow = 7;
        _sender.SendHeartbeat(learner, readRound: 0, areMembersSure: false, Leader);
        _sender.SendHeartbeat(learner, readRound: 0, areMembersSure: true, Leader);
        learner.IsVoter = true;
        _sender.SendHeartbeat(learner, readRound: 0, areMembersSure: true, Leader);

        Assert.Equal([0, 0, 7, 0], Take().Select(static m => m.Hollow));
    }

    [Fact]
    public void Question_names_the_last_that_was_sent_without_sending_it_again()
    {
        Replicating(from: 10);
        _sender.Replicate(_follower, Leader);
        Take();

        _sender.Ask(_follower, Leader);

        Assert.Equal([(16, 0, 1L)], Take().Select(m => (m.LogIndex.Value, m.EntryCount, m.Context)));
    }

    private FollowerSender SenderWithNotice(int ms)
    {
        var options = new RaftOptions
        {
            Id = new NodeId(1),
            Voters = [new NodeId(1), new NodeId(2)],
            MaxAppendBytes = 300,
            MaxInFlightBytes = 600,
            CommitNoticeDelay = TimeSpan.FromMilliseconds(ms),
        };
        return new FollowerSender(options, new RaftTimes(options), _log, new EntrySizes(static _ => 100), _outbox);
    }

    private void Replicating(int from)
    {
        _follower.TryBackUp(new LogIndex(20), new LogPosition(new LogIndex(from), new Term(2)), _log);
        Assert.True(_follower.TryReplicate(new LogIndex(from), _log));
    }

    private List<RaftMessage> Take() => _outbox.Take([]);
}
