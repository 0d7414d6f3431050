using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>With the default times: heartbeat 100, elections 500 to 1,000, a broken connection 50 ms.</summary>
public sealed class ElectionTimerTests
{
    private const long Now = 10_000;
    private static readonly NodeId Two = new(2);

    [Fact]
    public void Only_voter_campaigns_at_once() => All(timer => timer.Start(true, false, Now), 0, 0);

    [Fact]
    public void Preferred_replica_begins_within_a_heartbeat() => All(timer => timer.Start(false, true, Now), 0, 100);

    [Fact]
    public void Others_wait_for_an_election_timeout() => All(timer => timer.Start(false, false, Now), 500, 1_000);

    [Fact]
    public void Hampered_replica_lets_two_timeouts_pass() => All(timer => timer.StandBack(Now), 2_000, 3_000);

    [Fact]
    public void Split_vote_is_tried_again_before_a_whole_timeout() =>
        All(timer => timer.ResetAfterSplitVote(Now), 50, 500);

    [Fact]
    public void Pre_vote_without_an_answer_is_asked_again_after_a_timeout() =>
        All(timer => timer.ResetToRetry(false, Now), 500, 1_000);

    [Fact]
    public void Preferred_replica_asks_again_within_a_heartbeat() =>
        All(timer => timer.ResetToRetry(true, Now), 50, 100);

    [Fact]
    public void Attempts_follow_one_another_soon_while_the_connection_to_the_leader_is_broken()
    {
        All(Break, 0, 50);
        All(timer => { Break(timer); timer.ResetToRetry(false, Now); }, 50, 100);
        All(timer => { Break(timer); timer.ResetAfterSplitVote(Now); }, 50, 100);
        All(timer => { Break(timer); timer.RegainConnection(Two); timer.ResetToRetry(false, Now); }, 500, 1_000);
        All(timer => { Break(timer); timer.HearLeader(Now); timer.ResetToRetry(false, Now); }, 500, 1_000);

        static void Break(ElectionTimer timer)
        {
            timer.Start(false, false, Now);
            timer.LoseConnection(Two, Now);
        }
    }

    [Fact]
    public void Broken_connection_never_puts_a_campaign_off()
    {
        var timer = NewTimer(1);
        timer.Start(true, false, Now);

        timer.LoseConnection(Two, Now + 40);

        Assert.Equal(Now, timer.DeadlineMs);
    }

    [Fact]
    public void Leader_is_protected_for_the_shortest_timeout_after_it_was_heard()
    {
        var timer = NewTimer(1);
        timer.HearLeader(Now);

        Assert.True(timer.Protects(Two, Now + 499));
        Assert.False(timer.Protects(Two, Now + 500));
        Assert.False(timer.Protects(NodeId.None, Now));
    }

    [Fact]
    public void Leader_whose_connection_broke_is_not_protected_until_somebody_is_heard()
    {
        var timer = NewTimer(1);
        timer.HearLeader(Now);
        timer.LoseConnection(Two, Now);
        Assert.False(timer.Protects(Two, Now));
        timer.RegainConnection(new NodeId(3));
        Assert.False(timer.Protects(Two, Now));

        timer.RegainConnection(Two);
        Assert.True(timer.Protects(Two, Now));

        timer.LoseConnection(Two, Now);
        timer.HearLeader(Now);
        Assert.True(timer.Protects(Two, Now));
    }

    /// <summary>The deadlines of many random sources fill the range, and stay within it.</summary>
    private static void All(Action<ElectionTimer> act, long least, long most)
    {
        var waits = Enumerable.Range(1, 300).Select(seed =>
        {
            var timer = NewTimer(seed);
            act(timer);
            return timer.DeadlineMs - Now;
        }).ToList();

        Assert.InRange(waits.Min(), least, least + ((most - least) / 10));
        Assert.InRange(waits.Max(), most - ((most - least) / 10), most);
    }

    private static ElectionTimer NewTimer(int seed) =>
        new(new Random(seed), new RaftTimes(new RaftOptions { Id = new NodeId(1), Voters = [new NodeId(1)] }));
}
