using Broker.Cluster;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Cluster;

public sealed class QuorumJudgeTests
{
    private static readonly GroupId Group = new(1);
    private static readonly GroupConfiguration Three = new(LogIndex.None, [Node(1), Node(2), Node(3)], []);

    [Fact]
    public void Group_whose_replicas_are_well_or_away_has_lost_no_quorum()
    {
        Assert.Null(Judge(Intact(1), Intact(2), Intact(3)));
        Assert.Null(Judge(Intact(1), Away(2), Away(3)));
        Assert.Null(Judge(Lost(1), Away(2), Away(3)));
        Assert.Null(Judge(Lost(1), Intact(2), Away(3)));
        Assert.Null(Judge(Fenced(1, 50, fence: 60), Intact(2, 60), Away(3)));
        Assert.Null(Judge(Fenced(1, 50, fence: 60), Fenced(2, 40, fence: 60), Intact(3, 60)));
    }

    [Fact]
    public void Two_lost_of_three_leave_no_quorum_and_the_whole_one_is_named()
    {
        var loss = Judge(Lost(1), Lost(2), Intact(3, 57));

        Assert.Equal(Node(3), loss!.Best);
        Assert.Contains("broker-1 has lost its log or its votes", loss.What, StringComparison.Ordinal);
        Assert.Contains("broker-3 is intact through entry 57", loss.What, StringComparison.Ordinal);
        Assert.Contains("Admin.ForceRecovery", loss.What, StringComparison.Ordinal);
    }

    [Fact]
    public void Two_that_lost_ends_which_the_third_does_not_reach_leave_no_quorum()
    {
        Assert.Equal(Node(3), Judge(Fenced(1, 50, fence: 999), Fenced(2, 40, fence: 999), Intact(3, 60))!.Best);

        // An intact one that has less is not the better one.
        Assert.Equal(Node(1), Judge(Fenced(1, 50, fence: 999), Lost(2), Intact(3, 49))!.Best);
        Assert.Equal(Node(3), Judge(Fenced(1, 50, fence: 999), Lost(2), Intact(3, 50))!.Best);
    }

    [Fact]
    public void All_lost_leave_nobody_to_go_on_from()
    {
        var loss = Judge(Lost(1), Lost(2), Lost(3));

        Assert.True(loss!.Best.IsNone);
        Assert.Contains("bring back a disk", loss.What, StringComparison.Ordinal);
    }

    [Fact]
    public void Group_that_has_a_leader_has_a_quorum() =>
        Assert.Null(Judge(Lost(1), Lost(2), Intact(3) with { Leader = Node(3) }));

    [Fact]
    public void Members_are_those_of_the_newest_configuration()
    {
        var two = new GroupConfiguration(new LogIndex(9), [Node(2), Node(3)], []);

        // Node 1 is no member any more: what it has does not matter.
        Assert.NotNull(Judge(Intact(1, 99), Lost(2), Intact(3) with { Members = two }));
        Assert.Null(Judge(Lost(1), Intact(2) with { Members = two }, Intact(3)));
    }

    private static NodeId Node(int id) => new(id);

    private static ReplicaFacts Away(int id) => ReplicaFacts.Unknown(Node(id));

    private static ReplicaFacts Intact(int id, int last = 60) => Away(id) with
    {
        Answers = true,
        Last = At(last),
        Members = Three,
    };

    private static ReplicaFacts Lost(int id) => Away(id) with { Answers = true, IsLost = true, IsPassive = true };

    private static ReplicaFacts Fenced(int id, int last, int fence) => Intact(id, last) with { Fence = At(fence) };

    private static LogPosition At(int index) => new(new LogIndex(index), new Term(2));

    private static QuorumLoss? Judge(params ReplicaFacts[] replicas) =>
        QuorumJudge.Judge(Group, replicas, static node => $"broker-{node}");
}
