using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

public sealed class ReplicaDamageTests
{
    private const long DoubtEndsMs = 5_000;

    [Fact]
    public void Replica_that_lost_nothing_votes_for_any_log()
    {
        var damage = New(new RaftInitialState());

        Assert.False(damage.IsFenced || damage.IsPassive || damage.IsLost || damage.AwaitsLog);
        Assert.Equal(LogPosition.None, damage.LeastLog(isInDoubt: false));
        Assert.Equal(42, damage.TakeFenceAnswer(Heartbeat(context: 42)));
    }

    [Fact]
    public void Fence_falls_when_the_log_reaches_it_and_the_disk_hears_so_once()
    {
        var damage = New(new RaftInitialState { Fence = At(11, 2) });
        Assert.Equal(At(11, 2), damage.LeastLog(isInDoubt: false));
        damage.Reach(At(10, 2));
        Assert.True(damage.IsFenced);
        Assert.Null(damage.TakeFenceChange());

        damage.Reach(At(11, 2));

        Assert.False(damage.IsFenced);
        Assert.Equal(LogPosition.None, damage.TakeFenceChange());
        Assert.Null(damage.TakeFenceChange());
    }

    /// <summary>An entry of a newer term shows that what was lost never committed.</summary>
    [Fact]
    public void Fence_falls_before_its_index_in_a_newer_term()
    {
        var damage = New(new RaftInitialState { Fence = At(11, 2) });

        damage.Reach(At(7, 3));

        Assert.False(damage.IsFenced);
    }

    /// <summary>A fence may be far above what there ever was.</summary>
    [Fact]
    public void Fence_falls_when_the_log_holds_what_the_leader_had_when_it_heard_of_it()
    {
        var damage = New(new RaftInitialState { Fence = At(1_000_000, 9) });
        var number = damage.TakeFenceAnswer(Heartbeat());
        Assert.True(number >= ReplicaDamage.FirstNumber);
        damage.Reach(At(20, 2));
        Assert.True(damage.IsFenced);

        Assert.Equal(0, damage.TakeFenceAnswer(Heartbeat(context: number, learnerSince: 30)));
        damage.Reach(At(29, 2));
        Assert.True(damage.IsFenced);
        damage.Reach(At(30, 2));

        Assert.False(damage.IsFenced);
    }

    [Fact]
    public void Every_other_answer_tells_of_the_fence_until_the_leader_knows()
    {
        var damage = New(new RaftInitialState { Fence = At(11, 2) });
        var number = damage.TakeFenceAnswer(Heartbeat(context: 5));
        Assert.Equal(6, damage.TakeFenceAnswer(Heartbeat(context: 6)));
        Assert.Equal(number, damage.TakeFenceAnswer(Heartbeat(context: 7)));
        damage.TakeFenceAnswer(Heartbeat(context: number, learnerSince: 30));

        Assert.Equal(8, damage.TakeFenceAnswer(Heartbeat(context: 8)));
        Assert.Equal(9, damage.TakeFenceAnswer(Heartbeat(context: 9)));
    }

    [Fact]
    public void Doubt_ends_with_its_time_or_when_the_log_holds_the_write()
    {
        var damage = New(new RaftInitialState { Doubt = At(11, 2) });
        Assert.True(damage.IsInDoubt(isOnlyVoter: false, DoubtEndsMs - 1));
        Assert.False(damage.IsInDoubt(isOnlyVoter: false, DoubtEndsMs));
        Assert.False(damage.IsInDoubt(isOnlyVoter: true, nowMs: 0));

        damage.Reach(At(10, 2));
        Assert.True(damage.IsInDoubt(isOnlyVoter: false, nowMs: 0));
        damage.Reach(At(11, 2));

        Assert.False(damage.IsInDoubt(isOnlyVoter: false, nowMs: 0));
        Assert.Null(damage.TakeFenceChange());
    }

    [Fact]
    public void Candidate_must_reach_the_further_of_fence_and_doubt()
    {
        var damage = New(new RaftInitialState { Fence = At(11, 2), Doubt = At(14, 2) });
        Assert.Equal(At(14, 2), damage.LeastLog(isInDoubt: true));
        Assert.Equal(At(11, 2), damage.LeastLog(isInDoubt: false));

        Assert.Equal(At(11, 2), New(new RaftInitialState { Fence = At(11, 2), Doubt = At(9, 2) }).LeastLog(true));
    }

    [Fact]
    public void Lost_replica_becomes_passive_only_by_the_number_of_its_own_loss()
    {
        var damage = New(new RaftInitialState { HardState = HardState.Lost });
        Assert.True(damage.IsLost && damage.IsPassive);
        Assert.False(damage.TryBecomePassive(Heartbeat(context: damage.LossNumber)));
        Assert.False(damage.TryBecomePassive(Heartbeat(context: damage.LossNumber + 1, learnerSince: 7)));

        Assert.True(damage.TryBecomePassive(Heartbeat(context: damage.LossNumber, learnerSince: 7)));

        Assert.Equal((false, true, 7), (damage.IsLost, damage.IsPassive, damage.PassiveUntil.Value));
        Assert.False(damage.TryBecomePassive(Heartbeat(context: damage.LossNumber, learnerSince: 8)));
    }

    [Fact]
    public void Passive_replica_is_one_as_any_other_when_its_configuration_has_committed()
    {
        var damage = New(new RaftInitialState { HardState = new HardState(new Term(1), NodeId.None, new LogIndex(7)) });
        var configuration = new GroupConfiguration(new LogIndex(7), [new NodeId(1)], []);
        Assert.False(damage.TryEndPassivity(new LogIndex(6), configuration));

        Assert.True(damage.TryEndPassivity(new LogIndex(7), configuration));

        Assert.Equal((false, LogIndex.None), (damage.IsPassive, damage.PassiveUntil));
        Assert.False(damage.TryEndPassivity(new LogIndex(8), configuration));
    }

    [Fact]
    public void Each_start_numbers_the_loss_anew()
    {
        var initial = new RaftInitialState { HardState = HardState.Lost };

        Assert.NotEqual(New(initial, seed: 1).LossNumber, New(initial, seed: 2).LossNumber);
    }

    private static ReplicaDamage New(RaftInitialState initial, int seed = 1) =>
        new(initial, new Random(seed), DoubtEndsMs);

    private static LogPosition At(long index, long term) => new(new LogIndex(index), new Term(term));

    private static RaftMessage Heartbeat(long context = 0, long learnerSince = 0) => new()
    {
        Kind = RaftMessageKind.Heartbeat,
        From = new NodeId(1),
        To = new NodeId(2),
        Term = new Term(3),
        Context = context,
        LearnerSince = new LogIndex(learnerSince),
    };
}
