using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Replication;

public sealed class ReadIndexTests
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_read_of_the_leader_waits_for_a_majority_and_sees_what_was_acknowledged()
    {
        var group = new TestGroup(3);
        group.Publish(10);
        var leader = group.RunUntilLed();
        var committed = leader.Status.CommitIndex;
        var read = leader.Group.ReadIndexAsync(Stop);
        leader.Step();
        Assert.False(read.IsCompleted);
        Assert.True(await group.RunUntilDoneAsync(read) >= committed, "nothing acknowledged is missed");
        Assert.True(leader.Status.AppliedIndex >= await read, "it is applied");
    }

    [Fact]
    public async Task A_leader_that_was_deposed_without_knowing_refuses_reads()
    {
        var group = new TestGroup(3);
        group.Publish(10);
        var leader = group.RunUntilLed();
        group.Cut(leader);
        var read = leader.Group.ReadIndexAsync(Stop);
        var refusal = await Assert.ThrowsAsync<BrokerException>(() => group.RunUntilDoneAsync(read));
        Assert.Contains(refusal.Code, (RefusalCode[])[RefusalCode.NotLeader, RefusalCode.NoLeader]);
    }

    [Fact]
    public async Task A_follower_refuses_reads_and_names_the_leader()
    {
        var group = new TestGroup(3);
        group.Publish(1);
        group.RunUntilEven();
        var follower = group.Replicas.First(replica => replica != group.Leader);
        var refusal = await Assert.ThrowsAsync<BrokerException>(() => follower.Group.ReadIndexAsync(Stop));
        Assert.Equal((RefusalCode.NotLeader, group.Leader!.Id), (refusal.Code, refusal.LeaderHint));
    }

    [Fact]
    public async Task A_read_at_a_follower_waits_until_that_has_applied_what_the_leader_has()
    {
        var group = new TestGroup(3);
        group.Publish(1);
        group.RunUntilEven();
        var leader = group.Leader!;
        var follower = group.Replicas.First(replica => replica != leader);
        group.Cut(follower);
        group.Publish(10);
        var index = await group.RunUntilDoneAsync(leader.Group.ReadIndexAsync(Stop));
        var read = follower.Group.WaitForAppliedAsync(index, Stop);
        group.Run(TimeSpan.FromSeconds(1));
        Assert.False(read.IsCompleted);
        group.Heal();
        Assert.Equal(index, await group.RunUntilDoneAsync(read));
        Assert.True(follower.Status.AppliedIndex >= index, "it is applied");
        Assert.True(follower.Group.WaitForAppliedAsync(index, Stop).IsCompleted);
    }

    [Fact]
    public async Task A_follower_says_with_its_acknowledgement_whether_somebody_waits_for_what_commits()
    {
        var group = new TestGroup(3);
        group.Publish(1);
        group.RunUntilEven();
        var follower = group.Replicas.First(replica => replica != group.Leader);
        Assert.False(SaysThatItIsAwaited(group, follower));
        follower.Machine.IsAwaited = true;
        Assert.True(SaysThatItIsAwaited(group, follower));
        follower.Machine.IsAwaited = false;
        Assert.False(SaysThatItIsAwaited(group, follower));

        using var gone = new CancellationTokenSource();
        var read = follower.Group.WaitForAppliedAsync(follower.Status.LastIndex + 1_000, gone.Token);
        follower.Step();
        Assert.True(SaysThatItIsAwaited(group, follower));
        await gone.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => read);
    }

    [Fact]
    public async Task A_read_that_is_given_up_makes_room_for_another()
    {
        var group = new TestGroup(3);
        group.Publish(1);
        group.RunUntilEven();
        var follower = group.Replicas.First(replica => replica != group.Leader);
        var never = follower.Status.LastIndex + 1_000;
        for (var round = 0; round < 3; round++)
        {
            using var gone = new CancellationTokenSource();
            var reads = Enumerable.Range(0, Limits.PendingReadsPerGroup)
                .Select(_ => follower.Group.WaitForAppliedAsync(never, gone.Token)).ToList();
            Assert.DoesNotContain(reads, static read => read.IsCompleted);
            var refusal = await Assert.ThrowsAsync<BrokerException>(
                () => follower.Group.WaitForAppliedAsync(never, gone.Token));
            Assert.Equal(RefusalCode.Overloaded, refusal.Code);
            await gone.CancelAsync();
            group.Step();
        }
    }

    [Fact]
    public async Task A_single_replica_answers_at_once()
    {
        var group = new TestGroup(1);
        group.Publish(3);
        var read = group[1].Group.ReadIndexAsync(Stop);
        Assert.Equal(group[1].Status.CommitIndex, await group.RunUntilDoneAsync(read));
    }

    private static bool SaysThatItIsAwaited(TestGroup group, TestReplica follower)
    {
        follower.Sent.Clear();
        group.Publish(1);
        group.RunUntilEven();
        var said = follower.Sent.Where(
            static message => message.Kind == (uint)RaftMessageKind.AppendEntriesResponse && !message.Reject).ToList();
        Assert.NotEmpty(said);
        return said.All(static message => message.Force);
    }
}
