using Broker.Domain;
using Broker.Tests.Unit.Topics;
using Xunit;

namespace Broker.Tests.Unit.Replication;

public class RefusedBatchTests
{
    [Fact]
    public void Commands_that_raft_refuses_for_a_while_wait_and_keep_their_order()
    {
        var group = new TestGroup(3);
        group.Publish(1);
        group.RunUntilEven();
        var leader = group.Leader!;
        var absent = group.Replicas.First(replica => replica != leader);
        group.Cut(absent);
        leader.Group.TransferLeadership(absent.Id);
        var before = leader.Status.LastIndex;

        List<CommandProposal> waiting = [];
        for (var lot = 0; lot < 4; lot++)
        {
            for (var i = 0; i < 5; i++)
            {
                var proposal = new CommandProposal(Entries.PublishCommand(TestGroup.Topic, [(byte)lot, (byte)i]));
                leader.Group.Propose(proposal);
                waiting.Add(proposal);
            }

            group.Step();
            Assert.Equal(before, leader.Status.LastIndex);
        }

        group.RunUntil(() => waiting.All(static proposal => proposal.IsAnswered), "all are answered");

        Assert.Same(leader, group.Leader);
        Assert.All(waiting, static proposal => Assert.Equal(RefusalCode.None, proposal.Result?.Code));
        var offsets = waiting.Select(static proposal => proposal.Result!.Value.BaseOffset).ToList();
        Assert.Equal(Enumerable.Range(1, 20).Select(static offset => (long)offset), offsets);
        Assert.Equal(before.Next(), leader.Status.LastIndex);
    }
}
