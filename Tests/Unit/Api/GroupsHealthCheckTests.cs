using Broker.Api;
using Broker.Consensus;
using Broker.Domain;
using Broker.Replication;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Xunit;

namespace Broker.Tests.Unit.Api;

public sealed class GroupsHealthCheckTests
{
    private static readonly GroupCondition Well = new(
        LogIndex.None, LogIndex.None, new GroupConfiguration(LogIndex.None, [new NodeId(1)], []), false, false, false,
        false, false, false, false, false, false, 0, 0);

    [Fact]
    public void A_node_of_which_all_is_well_is_healthy() =>
        Assert.Equal(HealthStatus.Healthy, GroupsHealthCheck.Judge([Group(1, Well)], []).Status);

    [Fact]
    public void Whatever_is_not_well_is_named()
    {
        (GroupCondition Condition, string Words)[] troubles =
        [
            (Well with { IsFenced = true }, "group 2 fetches the damaged end of its log"),
            (Well with { IsLost = true }, "group 2 has lost its log and waits to be a member again"),
            (Well with { IsLost = true, IsSuperseded = true },
                "group 2 was left out of a forced recovery: start this broker again"),
            (Well with { IsPassive = true }, "group 2 catches up after it lost its log"),
            (Well with { IsApplyBlocked = true }, "group 2 cannot read the next entry to apply"),
            (Well with { IsDiskFull = true, IsWriteStalled = true }, "group 2 waits for space on the disk"),
            (Well with { IsWriteStalled = true },
                "group 2 waits for the disk, which has not done a write in time"),
            (Well with { IsBackgroundStalled = true }, "group 2 waits for the disk with what lies beside its log"),
            (Well with { IsBehind = true }, "group 2 does not catch up with its leader"),
            (Well with { DamagedSegments = 3 }, "group 2 has 3 damaged segments to repair"),
            (Well with { DamagedIndexes = 1 }, "group 2 makes 1 damaged index files anew"),
        ];
        foreach (var (condition, words) in troubles)
        {
            var result = GroupsHealthCheck.Judge([Group(1, Well), Group(2, condition)], []);
            Assert.Equal(HealthStatus.Degraded, result.Status);
            Assert.Equal($"Not well here: {words}.", result.Description);
        }
    }

    [Fact]
    public void A_task_that_fails_degrades_the_node()
    {
        var result = GroupsHealthCheck.Judge([Group(1, Well)], ["work failed"]);
        Assert.Equal(HealthStatus.Degraded, result.Status);
        Assert.Equal("Not well here: work failed.", result.Description);
    }

    [Fact]
    public void A_lost_quorum_is_told_in_its_own_words()
    {
        var result = GroupsHealthCheck.Judge(
            [Group(2, Well with { IsLost = true }) with { Leader = NodeId.None }],
            [],
            ["Shard 2 has lost its quorum."]);
        Assert.Equal(HealthStatus.Unhealthy, result.Status);
        Assert.Equal(
            "No leader is known for group 2. Shard 2 has lost its quorum. Not well here: group 2 has lost its log and "
            + "waits to be a member again.",
            result.Description);
    }

    [Fact]
    public void A_group_that_takes_no_publishes_makes_the_node_unhealthy()
    {
        var stuck = GroupsHealthCheck.Judge([Group(1, Well), Group(2, Well with { IsStuck = true })], []);
        Assert.Equal(HealthStatus.Unhealthy, stuck.Status);
        Assert.Equal("Not well here: group 2 refuses publishes, as too few nodes can write.", stuck.Description);

        var full = Group(2, Well with { IsDiskFull = true }) with { Leader = NodeId.None };
        var leaderless = GroupsHealthCheck.Judge([Group(1, Well), full], []);
        Assert.Equal(HealthStatus.Unhealthy, leaderless.Status);
        Assert.Equal(
            "No leader is known for group 2. Not well here: group 2 waits for space on the disk.",
            leaderless.Description);
    }

    private static GroupStatus Group(int id, GroupCondition condition) => new(
        new GroupId(id), RaftRole.Leader, new Term(1), new NodeId(1), LogIndex.None, LogIndex.None, LogIndex.None,
        condition);
}
