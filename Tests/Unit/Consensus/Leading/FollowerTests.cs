using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>A leader with entries 1 to 20, the first ten of term 1, then of term 2; and a follower's answers.</summary>
public sealed class FollowerTests
{
    private readonly RaftLog _log = new(
        LogPosition.None, new LogIndex(20), [new(new LogIndex(1), new Term(1)), new(new LogIndex(11), new Term(2))]);

    private readonly Follower _follower = new(new NodeId(2), isVoter: true, new LogIndex(21), nowMs: 0);

    [Fact]
    public void New_follower_is_probed_once()
    {
        Assert.Equal((FollowerState.Probing, false), (_follower.State, _follower.ProbeSent));

        _follower.Sent(new LogIndex(20), 0);

        Assert.True(_follower.ProbeSent);
        Assert.Equal((21, 0), (_follower.NextIndex.Value, _follower.InFlightBytes));
    }

    [Fact]
    public void Probe_that_finds_agreement_lets_entries_flow_from_there()
    {
        _follower.TryBackUp(new LogIndex(20), Position(15, 2), _log);
        Assert.False(_follower.TryReplicate(new LogIndex(14), _log));
        Assert.Equal(FollowerState.Probing, _follower.State);

        Assert.True(_follower.TryReplicate(new LogIndex(17), _log));

        Assert.True(_follower.IsReplicating);
        Assert.Equal(18, _follower.NextIndex.Value);
        Assert.False(_follower.TryReplicate(new LogIndex(18), _log));
    }

    /// <summary>A follower may agree with more than the leader has: with entries that the leader will send.</summary>
    [Fact]
    public void Entries_never_flow_from_beyond_the_leaders_log()
    {
        _follower.TryReplicate(new LogIndex(30), _log);

        Assert.Equal(21, _follower.NextIndex.Value);
    }

    [Fact]
    public void Entries_in_flight_fill_the_window_until_they_are_acknowledged()
    {
        Replicating(from: 10);
        _follower.Sent(new LogIndex(12), 300);
        _follower.Sent(new LogIndex(15), 500);
        Assert.Equal((16, 800), (_follower.NextIndex.Value, _follower.InFlightBytes));

        Assert.True(_follower.TryAdvance(new LogIndex(14)));
        Assert.Equal((14, 500), (_follower.MatchIndex.Value, _follower.InFlightBytes));
        Assert.True(_follower.TryAdvance(new LogIndex(15)));
        Assert.Equal((15, 0), (_follower.MatchIndex.Value, _follower.InFlightBytes));
        Assert.False(_follower.TryAdvance(new LogIndex(13)));
        Assert.Equal(15, _follower.MatchIndex.Value);
    }

    /// <summary>Raft paper 5.3: the answer names the last entry that may agree, so a whole term is skipped.</summary>
    [Fact]
    public void Rejected_probe_goes_back_over_a_whole_term()
    {
        Assert.True(_follower.TryBackUp(new LogIndex(20), Position(18, 1), _log));

        Assert.Equal((FollowerState.Probing, 11), (_follower.State, _follower.NextIndex.Value));
    }

    [Fact]
    public void Rejection_of_another_probe_changes_nothing()
    {
        Assert.False(_follower.TryBackUp(new LogIndex(19), Position(3, 1), _log));

        Assert.Equal(21, _follower.NextIndex.Value);
    }

    [Fact]
    public void Rejection_while_entries_flow_probes_behind_what_was_acknowledged()
    {
        Replicating(from: 10);
        _follower.Sent(new LogIndex(15), 500);
        _follower.TryAdvance(new LogIndex(11));

        Assert.True(_follower.TryBackUp(new LogIndex(15), Position(12, 2), _log));

        Assert.Equal((FollowerState.Probing, 12, 0),
            (_follower.State, _follower.NextIndex.Value, _follower.InFlightBytes));
    }

    /// <summary>Its log lost an end that it had acknowledged: what it had must not count any more.</summary>
    [Fact]
    public void Rejection_of_what_was_acknowledged_is_asked_about_again()
    {
        Replicating(from: 10);
        _follower.TryAdvance(new LogIndex(15));

        Assert.True(_follower.TryBackUp(new LogIndex(15), Position(8, 1), _log));

        Assert.Equal((FollowerState.Probing, 0, 9),
            (_follower.State, _follower.MatchIndex.Value, _follower.NextIndex.Value));
    }

    [Fact]
    public void Broken_connection_probes_again_only_after_an_answer()
    {
        Replicating(from: 10);
        _follower.Sent(new LogIndex(15), 500);
        _follower.TryAdvance(new LogIndex(12));

        _follower.Pause(_log.BaseIndex);
        Assert.Equal((FollowerState.Probing, true, 13),
            (_follower.State, _follower.ProbeSent, _follower.NextIndex.Value));

        _follower.ProbeAgain(_log.BaseIndex);
        Assert.Equal((false, 13), (_follower.ProbeSent, _follower.NextIndex.Value));
    }

    [Fact]
    public void Follower_behind_the_base_is_asked_for_the_base_first()
    {
        _log.CompactThrough(new LogIndex(12));

        _follower.ProbeAgain(_log.BaseIndex);
        Assert.Equal(21, _follower.NextIndex.Value);
        _follower.TryBackUp(new LogIndex(20), Position(2, 1), _log);
        Assert.Equal(3, _follower.NextIndex.Value);
        _follower.ProbeAgain(_log.BaseIndex);
        Assert.Equal(13, _follower.NextIndex.Value);
    }

    [Fact]
    public void Probe_under_way_stays_so_when_the_log_drops_its_beginning()
    {
        _follower.TryBackUp(new LogIndex(20), Position(2, 1), _log);
        _follower.Sent(new LogIndex(2), 0);

        Assert.True(_follower.TrySkipTo(new LogIndex(12)));
        Assert.Equal((13, true), (_follower.NextIndex.Value, _follower.ProbeSent));
        Assert.False(_follower.TrySkipTo(new LogIndex(12)));
    }

    [Fact]
    public void Nothing_is_sent_or_backed_up_while_a_snapshot_is_on_its_way()
    {
        _follower.BecomeInstalling(new LogIndex(12), deadlineMs: 1_000);

        Assert.Equal((FollowerState.Installing, true, 12),
            (_follower.State, _follower.ProbeSent, _follower.SnapshotIndex.Value));
        Assert.False(_follower.TryBackUp(new LogIndex(20), Position(2, 1), _log));
        Assert.False(_follower.TryReplicate(new LogIndex(20), _log));
        Assert.False(_follower.TrySkipTo(new LogIndex(30)));
        Assert.True(_follower.IsInstalling);
    }

    [Fact]
    public void Snapshot_has_arrived_when_its_position_is_acknowledged()
    {
        _follower.BecomeInstalling(new LogIndex(12), deadlineMs: 1_000);
        _follower.TryAdvance(new LogIndex(11));
        Assert.True(_follower.IsInstalling);

        _follower.TryAdvance(new LogIndex(12));

        Assert.Equal((FollowerState.Probing, false), (_follower.State, _follower.ProbeSent));
        Assert.Equal(LogIndex.None, _follower.SnapshotIndex);
    }

    [Fact]
    public void Snapshot_is_late_at_its_deadline_and_then_given_up()
    {
        _follower.BecomeInstalling(new LogIndex(12), deadlineMs: 1_000);
        _follower.AwaitSnapshot(deadlineMs: 2_000);
        Assert.False(_follower.IsSnapshotLate(1_999));
        Assert.True(_follower.IsSnapshotLate(2_000));

        _follower.GiveUpSnapshot(new LogIndex(12));

        Assert.Equal((FollowerState.Probing, true), (_follower.State, _follower.ProbeSent));
        Assert.False(_follower.IsSnapshotLate(2_000));
    }

    [Fact]
    public void Loss_takes_back_what_was_acknowledged_and_ends_with_its_own_number()
    {
        Replicating(from: 10);
        _follower.TryAdvance(new LogIndex(15));
        var loss = new ReplicaLoss(_follower.Id, number: 70, heardAt: new LogIndex(20));

        _follower.Lose(loss);
        Assert.Equal((0, 21), (_follower.MatchIndex.Value, _follower.NextIndex.Value));
        Assert.False(_follower.TryEndLoss(71, new LogIndex(25)));
        Assert.True(_follower.TryEndLoss(70, new LogIndex(25)));

        Assert.Equal((true, 26), (loss.IsOver, _follower.NextIndex.Value));
        Assert.Null(_follower.Loss);
    }

    [Fact]
    public void Lost_follower_awaits_a_change_until_it_is_a_learner_by_a_later_entry()
    {
        _follower.Lose(new ReplicaLoss(_follower.Id, number: 70, heardAt: new LogIndex(20)));
        Assert.True(_follower.AwaitsChange);
        _follower.IsVoter = false;
        _follower.LearnerSince = new LogIndex(20);
        Assert.True(_follower.AwaitsChange);

        _follower.LearnerSince = new LogIndex(21);

        Assert.False(_follower.AwaitsChange);
    }

    [Fact]
    public void Lost_follower_is_told_that_it_is_a_learner_when_that_has_committed()
    {
        _follower.Lose(new ReplicaLoss(_follower.Id, number: 70, heardAt: new LogIndex(20)));
        _follower.IsVoter = false;
        _follower.LearnerSince = new LogIndex(22);

        Assert.Equal((LogIndex.None, 5L), _follower.ToTell(new LogIndex(21), readRound: 5));
        Assert.Equal((new LogIndex(22), 70L), _follower.ToTell(new LogIndex(22), readRound: 5));
    }

    [Fact]
    public void Fence_is_answered_with_what_the_leader_had_when_it_first_heard_of_it()
    {
        _follower.HearOfFence(90, new LogIndex(20));
        _follower.HearOfFence(90, new LogIndex(25));
        Assert.Equal((new LogIndex(20), 90L), _follower.ToTell(LogIndex.None, readRound: 5));

        _follower.HearOfFence(91, new LogIndex(30));
        Assert.Equal((new LogIndex(30), 91L), _follower.ToTell(LogIndex.None, readRound: 5));

        _follower.ForgetFence();
        Assert.Equal((LogIndex.None, 5L), _follower.ToTell(LogIndex.None, readRound: 5));
    }

    /// <summary>What stands beside its fields, whatever comes in whatever order.</summary>
    [Fact]
    public void Invariants_hold_whatever_happens()
    {
        var random = new Random(5);
        for (var round = 0; round < 500; round++)
        {
            var follower = new Follower(new NodeId(2), isVoter: true, new LogIndex(21), nowMs: 0);
            var baseIndex = new LogIndex(random.Next(1, 15));
            for (var step = 0; step < 50; step++)
            {
                Happen(follower, random, baseIndex);

                Assert.True(follower.NextIndex > follower.MatchIndex);
                Assert.Equal(follower.IsInstalling, follower.SnapshotIndex != LogIndex.None);
                Assert.True(follower.ProbeSent || !follower.IsInstalling);
                Assert.False(follower is { ProbeSent: true, IsReplicating: true });
                Assert.True(follower.IsReplicating || follower.InFlightBytes == 0);
            }
        }
    }

    private static LogPosition Position(long index, long term) => new(new LogIndex(index), new Term(term));

    private void Replicating(int from)
    {
        _follower.TryBackUp(new LogIndex(20), Position(from, 1), _log);
        Assert.True(_follower.TryReplicate(new LogIndex(from), _log));
    }

    private void Happen(Follower follower, Random random, LogIndex baseIndex)
    {
        var index = new LogIndex(random.Next(21));
        switch (random.Next(10))
        {
            case 0:
                follower.TryBackUp(index, Position(random.Next(21), random.Next(1, 3)), _log);
                break;
            case 1:
                follower.TryReplicate(index, _log);
                break;
            case 2:
                follower.TryAdvance(index);
                break;
            case 3 when !follower.IsInstalling:
                follower.Sent(follower.NextIndex + random.Next(3), random.Next(500));
                break;
            case 4:
                follower.ProbeAgain(baseIndex);
                break;
            case 5:
                follower.Pause(baseIndex);
                break;
            case 6:
                follower.TrySkipTo(baseIndex);
                break;
            case 7:
                follower.BecomeInstalling(baseIndex, deadlineMs: 0);
                break;
            case 8:
                follower.GiveUpSnapshot(baseIndex);
                break;
            default:
                follower.Lose(new ReplicaLoss(follower.Id, number: 70, heardAt: index));
                break;
        }
    }
}
