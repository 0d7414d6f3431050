using Broker.Consensus;
using Broker.Domain;
using Broker.Replication;
using Xunit;

namespace Broker.Tests.Unit.Replication;

/// <summary>What a leader reads from its disk for a learner is spread over time.</summary>
public sealed class CatchUpThrottleTests
{
    private const int BytesPerSecond = 5_000;
    private const int Batches = 40; // of 500 bytes

    [Fact]
    public void Reads_wait_until_what_was_read_before_has_had_its_time()
    {
        var throttle = new CatchUpThrottle(1_000);
        Assert.Equal(0, throttle.WaitMs(50));
        throttle.Take(500, 50);
        Assert.Equal(500, throttle.WaitMs(50));
        Assert.Equal(100, throttle.WaitMs(450));
        throttle.Take(1_000, 450);
        Assert.Equal(1_100, throttle.WaitMs(450));
        Assert.Equal(0, throttle.WaitMs(9_000));
        throttle.Take(10, 9_000);
        Assert.Equal(10, throttle.WaitMs(9_000));

        var open = new CatchUpThrottle(0);
        open.Take(1L << 50, 1);
        Assert.Equal(0, open.WaitMs(1));
    }

    [Fact]
    public async Task A_learner_gets_what_is_on_the_disk_at_a_bounded_rate_and_a_voter_at_once()
    {
        var group = new TestGroup(3, keepsVoters: false, BytesPerSecond);
        group.Publish(5);
        group.RunUntilEven();
        var other = group.Replicas.First(replica => replica != group.Leader);
        await ChangeAsync(group, MembershipChangeKind.Remove, other.Id);
        MissSome(group, other);
        await ChangeAsync(group, MembershipChangeKind.AddLearner, other.Id);
        var learnt = CatchUp(group, other);
        Assert.InRange(learnt.TotalSeconds, 3, 30);
        Assert.True(other.Status.Condition.Configuration.IsLearner(other.Id));

        // It promotes as soon as it has everything; from then on nothing is put off for it.
        group.Run(TimeSpan.FromSeconds(1));
        await ChangeAsync(group, MembershipChangeKind.Promote, other.Id);
        group.RunUntilEven();
        MissSome(group, other);
        Assert.InRange(CatchUp(group, other).TotalSeconds, 0, 2);
    }

    [Fact]
    public async Task While_a_learner_waits_the_group_goes_on_and_another_leader_gives_it_the_rest()
    {
        var group = new TestGroup(3, keepsVoters: false, BytesPerSecond);
        group.Publish(5);
        group.RunUntilEven();
        var other = group.Replicas.First(replica => replica != group.Leader);
        await ChangeAsync(group, MembershipChangeKind.Remove, other.Id);
        MissSome(group, other);
        await ChangeAsync(group, MembershipChangeKind.AddLearner, other.Id);
        other.Start();
        group.Run(TimeSpan.FromSeconds(1));
        var leader = group.RunUntilLed();
        var term = leader.Status.Term;
        group.Publish(3);
        Assert.Equal(term, leader.Status.Term);
        Assert.True(other.Status.LastIndex < leader.Status.LastIndex, "it has not got everything");
        _ = leader.Group.BeginTransferAsync(NodeId.None);
        group.RunUntil(() => group.Leader is { } next && next != leader, "another one leads");
        group.RunUntilEven();
    }

    /// <summary>It stops, and what is published then nobody has in memory any more.</summary>
    private static void MissSome(TestGroup group, TestReplica other)
    {
        other.Stop();
        group.Publish(Batches);
        group.RunUntilEven();
        foreach (var replica in group.Replicas.Where(static replica => replica.IsUp).ToList())
        {
            replica.Restart();
        }

        group.RunUntilLed();
        group.RunUntilEven();
    }

    private static TimeSpan CatchUp(TestGroup group, TestReplica other)
    {
        var began = group.Time.GetTimestamp();
        other.Start();
        group.RunUntilEven();
        return group.Time.GetElapsedTime(began);
    }

    private static Task<LogIndex> ChangeAsync(TestGroup group, MembershipChangeKind kind, NodeId node) =>
        group.RunUntilDoneAsync(group.RunUntilLed().Group.ChangeConfigurationAsync(
            new MembershipChange(kind, node), TestContext.Current.CancellationToken));
}
