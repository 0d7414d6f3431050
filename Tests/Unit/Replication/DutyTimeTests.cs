using Broker.Tests.Unit.Topics;
using Xunit;

namespace Broker.Tests.Unit.Replication;

/// <summary>A leader's duty that only waits for its time.</summary>
public sealed class DutyTimeTests
{
    private const int StepMs = 10;
    private const string Due = "$due a";

    [Fact]
    public void What_is_due_is_said_at_its_time_and_not_only_when_the_leader_looks_after_everything()
    {
        var group = new TestGroup(3);
        var leader = group.RunUntilLed();
        long NowMs() => group.Time.GetUtcNow().ToUnixTimeMilliseconds();
        var times = Enumerable.Range(1, 9).Select(each => NowMs() + (each * 170L)).ToArray();
        leader.Group.Propose(new CommandProposal(Entries.PublishCommand(
            "a", Entries.DelayedBatch([.. times, long.MaxValue]), 10, isDelayed: true)));
        foreach (var (number, dueMs) in times.Index())
        {
            group.RunUntil(() => Stored(leader) > number, $"record {number} is due");
            Assert.InRange(NowMs(), dueMs, dueMs + (10 * StepMs));
        }

        // The next leader goes on with what is left; and what is never due wakes nobody.
        var late = NowMs() + 2_000;
        leader.Group.Propose(new CommandProposal(Entries.PublishCommand(
            "a", Entries.DelayedBatch(late), 1, isDelayed: true)));
        group.RunUntilEven();
        leader.Stop();
        group.RunUntil(() => group.Leader is { } next && Stored(next) == 10, "the last one is due");
        Assert.True(NowMs() >= late);
        Assert.Equal(long.MaxValue, group.Leader!.Machine.Topics.NextDutyUnixMs);
    }

    private static long Stored(TestReplica replica) =>
        replica.Machine.Topics.TryGetTopic(Due, out var due) ? due.NextOffset : 0;
}
