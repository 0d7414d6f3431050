using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <content>
/// Thesis 4 (members), 5.1 (snapshots), 6.4 (reads). The commands are those of the scenes, see <see
/// cref="ScriptCommands"/>.
/// </content>
public sealed partial class PaperTests
{
    /// <summary>
    /// 4.1: "The new configuration takes effect on each server as soon as it is added to that server's log", committed
    /// or not.
    /// </summary>
    [Fact]
    public void Configuration_holds_from_the_moment_it_is_in_the_log()
    {
        var world = Scene("group 3 spare=1", "lead 1", "change 1 AddLearner 4", "deliver 1->2");

        Assert.Equal((2, 1), (IndexOfMembers(world, 1), world[1].Node.CommitIndex.Value));
        Assert.Equal((2, 1), (IndexOfMembers(world, 2), world[2].Node.CommitIndex.Value));
        Assert.Equal(0, IndexOfMembers(world, 3));
    }

    /// <summary>
    /// 4.1: "A server accepts AppendEntries requests from a leader that is not part of the server's latest
    /// configuration."
    /// </summary>
    [Fact]
    public void Leader_that_is_no_member_any_more_is_followed_until_it_steps_down()
    {
        var world = Scene("group 3", "lead 1", "change 1 Remove 1", "deliver 1->2", "propose 1", "deliver 1->2");

        Assert.False(world[2].Node.Configuration.Contains(One));
        Assert.Equal((One, new LogIndex(3)), (world[2].Node.Leader, world[2].Node.LastIndex));
    }

    /// <summary>
    /// 4.1: "A server also grants its vote to a candidate that is not part of the server's latest configuration (if the
    /// candidate has a sufficiently up-to-date log and a current term)."
    /// </summary>
    [Fact]
    public void Candidate_that_the_voter_does_not_know_as_a_member_gets_its_vote()
    {
        // Node 3 is cut off while node 4 is added and made a voter.
        var world = Scene(
            "group 3 spare=1", "lead 1", "cut 3", "change 1 AddLearner 4", "settle", "timeout 1", "settle",
            "change 1 Promote 4", "settle");
        Assert.True(world[4].Node.Configuration.IsVoter(new NodeId(4)));
        Assert.False(world[3].Node.Configuration.Contains(new NodeId(4)));

        Play(world, "crash 1", "heal", "unreachable 2 1", "unreachable 3 1", "unreachable 4 1", "timeout 4", "settle");

        Assert.Equal(RaftRole.Leader, world[4].Node.Role);
        Assert.Equal(new NodeId(4), world[3].Node.VotedFor);
    }

    /// <summary>4.2.1: a learner "is not yet counted toward majorities for voting or commitment purposes".</summary>
    [Fact]
    public void Learner_is_not_asked_for_votes_and_does_not_commit()
    {
        var world = Scene("group 3 spare=1", "lead 1", "change 1 AddLearner 4", "settle");
        var committed = world[1].Node.CommitIndex;

        Play(world, "propose 1", "deliver 1->4", "deliver 4->1");
        Assert.Equal(committed, world[1].Node.CommitIndex);

        Play(world, "drop", "crash 1", "unreachable 2 1", "timeout 2");
        Assert.Equal([One, Three], world.Network.Select(static message => message.To));
    }

    /// <summary>
    /// 4.2.2: a server "does not count its own vote in elections unless it is part of its latest configuration". That
    /// it starts elections at all, see the scenes members-two-to-one and members-removed-still-needed.
    /// </summary>
    [Fact]
    public void Candidate_that_is_no_member_any_more_needs_a_majority_of_the_others()
    {
        var world = Scene(
            "group 3", "lead 1", "change 1 Remove 1", "drop", "crash 1", "restart 1", "unreachable 2 1",
            "unreachable 3 1", "timeout 1", "deliver RequestPreVote", "deliver 2->1");
        Assert.Equal(RaftRole.PreCandidate, world[1].Node.Role);

        Play(world, "deliver 3->1", "deliver RequestVote", "deliver 2->1");
        Assert.Equal(RaftRole.Candidate, world[1].Node.Role);

        Play(world, "deliver 3->1");
        Assert.Equal(RaftRole.Leader, world[1].Node.Role);
    }

    /// <summary>
    /// 4.2.3: a server that was removed and does not know it "will time out and start new elections"; here its
    /// pre-votes depose nobody.
    /// </summary>
    [Fact]
    public void Removed_server_that_does_not_know_it_disturbs_nobody()
    {
        var world = Scene(
            "group 3", "lead 1", "change 1 Remove 3", "drop 1->3", "settle", "tick 3 2000", "timeout 1", "settle");

        Assert.True(world[3].Node.Configuration.IsVoter(Three));
        Assert.Equal((RaftRole.Leader, new Term(1)), (world[1].Node.Role, world[1].Node.Term));
    }

    /// <summary>
    /// 5.1: a server that has written a snapshot drops the log up to it, but keeps that entry's index and term "to
    /// support the AppendEntries consistency check for the first log entry following the snapshot".
    /// </summary>
    [Fact]
    public void Entries_right_behind_the_base_are_sent_and_checked_as_any_others()
    {
        var world = Scene(
            "group 3", "lead 1", "propose 1 2", "settle", "compact 1 3", "compact 2 3", "propose 1", "settle");

        Assert.All(world.Nodes, static node => Assert.Equal(new LogIndex(4), node.Node.CommitIndex));
        Assert.Equal([3, 3, 0], world.Nodes.Select(static node => (int)node.Node.BaseIndex.Value));
    }

    /// <summary>
    /// Raft paper, figure 13, 6: "If existing log entry has same index and term as snapshot's last included entry,
    /// retain log entries following it and reply." For 7, "Discard the entire log", see the scene snapshot-conflict.
    /// </summary>
    [Fact]
    public void Entries_behind_a_snapshot_that_agrees_with_the_log_stay()
    {
        var world = Scene(
            "group 3", "lead 1", "propose 1 3", "deliver 1->2", "deliver 2->1", "propose 1", "compact 1 4",
            "unreachable 1 3", "reachable 1 3", "deliver 1->3 #4", "deliver 3->1", "deliver AppendEntries 1->3");
        Assert.Equal(RaftMessageKind.InstallSnapshot, world.Network.Single(static m => m.To == Three).Kind);

        Play(world, "deliver InstallSnapshot");

        Assert.Equal((LogIndex.None, new LogIndex(5)), (world[3].Node.BaseIndex, world[3].Node.LastIndex));
        Assert.Equal(new LogIndex(4), world[3].Node.CommitIndex);
    }

    /// <summary>
    /// 6.4: "The leader saves its current commit index in a local variable readIndex": what commits while the read
    /// waits for its confirmation does not put it off.
    /// </summary>
    [Fact]
    public void Read_is_answered_with_the_commit_index_of_when_it_was_asked()
    {
        var world = Scene(
            "group 3", "lead 1", "read 1 7", "propose 1", "deliver AppendEntries", "deliver AppendEntriesResponse");
        Assert.Equal(new LogIndex(2), world[1].Node.CommitIndex);
        world.TakeTrace();

        Play(world, "deliver Heartbeat 1->2", "deliver HeartbeatResponse 2->1");

        Assert.Contains("1 read 7: at 1", world.TakeTrace());
    }

    private static ScriptWorld Scene(params string[] commands)
    {
        var world = new ScriptWorld();
        Play(world, commands);
        return world;
    }

    private static void Play(ScriptWorld world, params string[] commands)
    {
        var player = new ScriptCommands(world);
        foreach (var command in commands)
        {
            player.Run(command);
        }
    }

    private static long IndexOfMembers(ScriptWorld world, int node) => world[node].Node.Configuration.Index.Value;
}
