using Broker.Consensus;
using Broker.Domain;
using Broker.Replication;
using Broker.Storage;
using Broker.Tests.Unit.Storage;
using Broker.Tests.Unit.Topics;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Broker.Tests.Unit.Replication;

/// <summary>Replicas whose disk lost something: they do no harm, and become well again by themselves.</summary>
public sealed class DamageTests
{
    [Fact]
    public async Task A_replica_that_lost_its_folder_is_removed_and_added_and_promoted()
    {
        var group = new TestGroup(3);
        var batches = group.Publish(100);
        group.RunUntilEven();
        var lost = group.Replicas.First(replica => replica != group.Leader);
        Lose(lost);
        Assert.True(lost.Log.HardState.IsLost);
        batches.AddRange(group.Publish(5));
        group.RunUntil(() => lost.Status.Condition is { IsLost: false, IsPassive: false }, "it is a full member");
        group.RunUntil(() => IsVoterForAll(group, lost.Id), "it is a voter again for all");
        group.RunUntilEven();
        Assert.Equal(batches, await lost.ReadAllAsync(TestGroup.Topic));
        Assert.True(lost.Status.Condition.IsWell);
    }

    [Fact]
    public void A_lost_replica_neither_votes_nor_leads()
    {
        var group = new TestGroup(3);
        group.Publish(100);
        group.RunUntilEven();
        var leader = group.RunUntilLed();
        var lost = group.Replicas.First(replica => replica != leader);
        var third = group.Replicas.Single(replica => replica != leader && replica != lost);
        leader.Stop();
        lost.Stop();
        Lose(lost, isUp: false);
        group.Run(TimeSpan.FromSeconds(10));
        Assert.NotEqual(RaftRole.Leader, third.Status.Role);
        Assert.NotEqual(RaftRole.Leader, lost.Status.Role);

        leader.Start();
        group.Publish(5);
        group.RunUntil(() => IsVoterForAll(group, lost.Id), "it is a voter again for all");
    }

    [Fact]
    public async Task A_replica_without_its_vote_file_comes_back_as_a_new_member()
    {
        var group = new TestGroup(3);
        var batches = group.Publish(100);
        group.RunUntilEven();
        var lost = group.Replicas.First(replica => replica != group.Leader);
        lost.Stop();
        lost.Device.Delete(lost.PathOf("vote"));
        lost.Device.SyncFolder(TestReplica.Folder);
        lost.Start();
        Assert.True(lost.Log.HardState.IsLost);
        group.RunUntil(() => lost.Status.Condition is { IsLost: false, IsPassive: false }, "it is a full member");
        group.RunUntil(() => IsVoterForAll(group, lost.Id), "it is a voter again for all");
        group.RunUntilEven();
        Assert.Equal(batches, await lost.ReadAllAsync(TestGroup.Topic));
    }

    [Fact]
    public async Task A_replica_with_a_damaged_end_does_not_campaign_and_fetches_what_it_lacks()
    {
        var group = new TestGroup(3);
        var batches = group.Publish(100);
        group.RunUntilEven();
        var leader = group.RunUntilLed();
        var fenced = group.Replicas.First(replica => replica != leader);
        fenced.Stop();
        var active = fenced.PathOf(fenced.Files(".log").Last());
        fenced.Device.Flip(active, 4096 + 80, 0x40);
        leader.Stop();
        fenced.Start();
        Assert.True(fenced.Status.Condition.IsFenced, "the loss is known");
        group.RunUntil(() => group.Leader is not null, "the whole one leads");
        Assert.NotEqual(fenced, group.Leader);
        leader.Start();
        group.RunUntilEven();
        group.RunUntil(() => fenced.Status.Condition.IsWell, "it is well");
        Assert.Equal(batches, await fenced.ReadAllAsync(TestGroup.Topic));
    }

    [Fact]
    public async Task A_replica_that_lost_the_end_of_its_log_is_whole_again_though_nothing_new_is_written()
    {
        var group = new TestGroup(3);
        var batches = group.Publish(100);
        group.RunUntilEven();
        var leader = group.RunUntilLed();
        var term = leader.Status.Term;
        var fenced = group.Replicas.First(replica => replica != leader);
        fenced.Stop();
        fenced.Device.Delete(fenced.PathOf(fenced.Files(".log").Last()));
        fenced.Device.SyncFolder(TestReplica.Folder);
        fenced.Start();
        Assert.True(fenced.Status.Condition.IsFenced, "the loss is known");
        Assert.True(fenced.Log.Fence.Index > leader.Status.LastIndex, "how much was lost is not known");
        group.RunUntil(() => fenced.Status.Condition.IsWell, "it is well", seconds: 5);
        Assert.Equal(term, leader.Status.Term);
        Assert.Equal(LogPosition.None, fenced.Log.Fence);
        Assert.Equal(batches, await fenced.ReadAllAsync(TestGroup.Topic));
    }

    [Fact]
    public void One_that_drains_leads_when_it_alone_has_what_its_leader_cannot_read()
    {
        var group = new TestGroup(4);
        var leader = group.RunUntilLed();
        group.Publish(5);
        group.RunUntilEven();
        var keeper = group.Replicas.First(replica => replica != leader);
        group.Replicas.Where(replica => replica != leader && replica != keeper).ToList().ForEach(group.Cut);
        for (var i = 0; i < 60; i++)
        {
            leader.Group.Propose(new CommandProposal(Entries.PublishCommand(TestGroup.Topic, new byte[500])));
            group.Step();
        }

        group.RunUntil(() => keeper.Status.LastIndex == leader.Status.LastIndex, "two have what the others lack");
        Assert.True(leader.Status.LastIndex > leader.Status.CommitIndex + 50, "it has not committed");
        leader.Stop();
        leader.Device.Flip(leader.PathOf(leader.Files(".log").ToList()[^2]), 4096 + 80, 0x40);
        leader.Start();
        keeper.Group.IsDraining = true;
        group.Heal();

        group.RunUntil(() => keeper.Status.CommitIndex > new LogIndex(60), "the group goes on", seconds: 20);
        group.RunUntil(() => group.Leader is { } next && next != keeper && next != leader, "one that is well leads");
        group.Publish(3);
    }

    [Fact]
    public async Task A_replica_with_a_damaged_segment_waits_for_its_repair_and_goes_on()
    {
        var group = WithBlocked(out var hurt);
        var batches = await group.Leader!.ReadAllAsync(TestGroup.Topic);
        batches.AddRange(group.Publish(5));
        group.Run(TimeSpan.FromSeconds(3));
        Assert.Equal(1, hurt.Status.Condition.DamagedSegments);

        Mend(group, hurt);
        group.RunUntilEven();
        group.RunUntil(() => hurt.Status.Condition.IsWell, "it is well");
        Assert.Equal(batches, await hurt.ReadAllAsync(TestGroup.Topic));
    }

    [Fact]
    public async Task A_replica_whose_damaged_entries_all_others_have_dropped_goes_on_from_the_leaders_snapshot()
    {
        var group = WithBlocked(out var hurt);
        var logEnd = hurt.Status.LastIndex;
        hurt.HoldsBackground = true;
        group.Purge();
        var batches = group.Publish(150);
        group.RunUntil(
            () => group.Replicas.All(replica => replica == hurt || replica.Log.Base.Index > new LogIndex(50)),
            "the others have dropped their logs");
        Assert.True(hurt.Status.Condition.IsApplyBlocked, "it cannot go on by itself");
        Assert.Equal(LogIndex.None, hurt.Log.Base.Index);
        hurt.HoldsBackground = false;
        group.RunUntil(() => !hurt.Status.Condition.IsApplyBlocked, "it goes on");
        Assert.True(hurt.Status.LastIndex > logEnd, "it kept its log");
        Assert.Equal(LogIndex.None, hurt.Log.Base.Index);
        group.RunUntilEven();
        Assert.Equal(1, hurt.Machine.Restored);
        Assert.Equal(batches, await hurt.ReadAllAsync(TestGroup.Topic));

        // Its own log is dropped in turn, and the damage with it.
        batches.AddRange(group.Publish(40));
        group.RunUntil(() => hurt.Status.Condition.IsWell, "it is well");
        Assert.Equal(0, hurt.Status.Condition.DamagedSegments);
        group.RunUntilEven();
        hurt.Restart();
        group.RunUntilEven();
        Assert.Equal(batches, await hurt.ReadAllAsync(TestGroup.Topic));
    }

    /// <summary>The leader stayed, as a voter alone was a reason to go.</summary>
    [Fact]
    public void A_leader_that_cannot_read_what_a_learner_needs_lets_another_one_lead()
    {
        var group = LedByDamaged(out var hurt);
        var lost = group.Replicas.First(replica => replica != hurt);
        Lose(lost);
        group.RunUntil(() => group.Leader != hurt, "another one leads");
        group.RunUntil(() => IsVoterForAll(group, lost.Id), "it is a voter again for all");
    }

    /// <summary>Nobody waits for a learner: whoever should rather not lead is not asked for its sake.</summary>
    [Fact]
    public void A_leader_that_cannot_read_what_a_learner_needs_does_not_hand_over_to_one_that_drains()
    {
        var group = LedByDamaged(out var hurt);
        var lost = group.Replicas.First(replica => replica != hurt);
        group.Replicas.Single(replica => replica != hurt && replica != lost).Group.IsDraining = true;
        Lose(lost);
        hurt.Group.IsShortOfSpace = true;
        group.Run(TimeSpan.FromMinutes(2));
        Assert.Equal(hurt, group.Leader);
    }

    /// <summary>
    /// It said already that it may give up everything, and was taken for one that has given up what is wanted.
    /// </summary>
    [Fact]
    public void A_leader_that_is_to_stop_voting_gives_a_learner_the_hollow_entries_that_nobody_wants()
    {
        var group = new TestGroup(4, keepsVoters: false);
        group.Publish(300);
        group.RunUntilEven();
        var hollow = group.Replicas.Last(replica => replica != group.Leader);
        hollow.Machine.CanBeHollow = hollow.Machine.IsHollowInNameAlone = true;
        hollow.Group.MayBeHollow = true;
        Want(voters: [.. group.Voters.Where(voter => voter != hollow.Id)], learners: [hollow.Id]);
        group.RunUntil(() => hollow.Log.SealedSegments.Count(static segment => segment.IsHollow) > 8, "it is hollow");
        group.Run(TimeSpan.FromSeconds(20));

        // Of all but its last hollow segment nobody wants anything; and it is not dropped, for want of a snapshot.
        var newest = hollow.Status.Condition.SnapshotIndex;
        group.Purge(before: newest.Value - 2);
        group.Run(TimeSpan.FromSeconds(5));
        hollow.Group.MayBeHollow = false;
        foreach (var segment in hollow.Log.SealedSegments.Where(
            segment => segment.IsHollow && segment.Last >= hollow.Machine.FirstNeeded))
        {
            var entries = new List<LogEntry>();
            group.Leader!.Group.ReadEntries(segment.First, segment.Last, int.MaxValue, entries);
            hollow.Log.ReplaceSegment(segment.First, entries);
        }

        hollow.Restart(); // It has them on disk alone.
        Assert.NotEqual(0, hollow.Log.HollowSegments);
        Want(voters: group.Voters, learners: []);
        group.RunUntil(() => IsVoterForAll(group, hollow.Id), "it votes");
        group.Leader!.Group.TransferLeadership(hollow.Id);
        group.RunUntil(() => group.Leader == hollow, "it leads");
        hollow.Group.MayBeHollow = true;
        var lost = group.Replicas.First(replica => replica != hollow);
        Lose(lost);
        Want(voters: group.Voters, learners: []);
        group.RunUntil(() => IsVoterForAll(group, lost.Id), "the one that lost its disk votes again");
        Assert.Equal(hollow, group.Leader);

        void Want(IReadOnlyList<NodeId> voters, IReadOnlyList<NodeId> learners)
        {
            foreach (var replica in group.Replicas)
            {
                replica.Group.DesiredMembers = new DesiredMembers(voters, learners);
            }
        }
    }

    [Fact]
    public void A_replica_that_dies_while_it_goes_over_to_the_leaders_snapshot_asks_again()
    {
        var group = WithBlocked(out var hurt);
        hurt.HoldsBackground = true;
        group.Purge();
        group.Publish(150);
        group.RunUntil(() => group.Leader!.SnapshotsSent > 0, "a snapshot is on its way");
        group.Run(TimeSpan.FromMilliseconds(100));
        Assert.Equal(0, hurt.Machine.Restored);
        hurt.Kill();
        hurt.HoldsBackground = false;
        hurt.Start();
        group.RunUntil(() => hurt.Status.Condition.IsApplyBlocked, "the replay has met the damage again");

        group.RunUntil(() => hurt.Machine.Restored == 1, "it has gone over to the snapshot");
        hurt.Kill();
        hurt.Start();
        group.Publish(40);
        group.RunUntilEven();
        group.RunUntil(() => hurt.Status.Condition.IsWell, "it is well");
    }

    [Fact]
    public void A_replica_that_can_go_on_by_itself_takes_no_snapshot()
    {
        var group = WithBlocked(out var hurt);
        group.Run(TimeSpan.FromSeconds(20));
        Assert.True(hurt.Status.Condition.IsApplyBlocked, "the leader has no snapshot of what it has dropped");
        Assert.Equal(0, group.Replicas.Sum(replica => replica.SnapshotsSent));
        Mend(group, hurt);
        group.RunUntilEven();
        Assert.Equal(0, group.Replicas.Sum(replica => replica.SnapshotsSent));
        Assert.Equal(0, hurt.Machine.Restored);
    }

    [Fact]
    public void A_leader_that_cannot_read_what_has_not_committed_lets_another_one_lead()
    {
        var group = new TestGroup(3);
        group.Publish(20);
        group.RunUntilEven();
        var leader = group.RunUntilLed();
        var others = group.Replicas.Where(replica => replica != leader).ToList();
        others.ForEach(other => other.Stop());
        for (var i = 0; i < 60; i++)
        {
            leader.Group.Propose(new CommandProposal(Topics.Entries.PublishCommand(TestGroup.Topic, new byte[500])));
            group.Step();
        }

        var committed = leader.Status.CommitIndex;
        leader.Restart();
        var segment = leader.Log.SealedSegments.First(each => each.First > committed);
        leader.Stop();
        leader.Device.Flip(leader.PathOf($"{segment.First.Value:D20}.log"), 4096 + 700, 0x40);
        leader.Start();
        others[0].Start();
        group.RunUntil(() => leader.Status.Role == RaftRole.Leader, "the longer log of two wins the election");
        group.Run(TimeSpan.FromSeconds(1));
        others[1].Start();
        group.RunUntil(
            () => group.Leader is { } other && other != leader,
            "another one leads",
            seconds: 20);
        group.Publish(5);
        group.RunUntilEven();
        group.RunUntil(() => leader.Status.Condition.IsWell, "what could not be read is gone");
    }

    [Fact]
    public void A_leader_does_not_wait_for_the_time_of_an_unreadable_end_that_was_truncated()
    {
        var group = new TestGroup(3);
        group.Publish(20);
        group.RunUntilEven();
        var leader = group.RunUntilLed();
        var hurt = group.Replicas.First(replica => replica != leader);
        hurt.Stop();
        AppendUnreadableEnd(hurt);
        leader.Restart();
        group.Publish(1);
        hurt.Start();
        group.RunUntilEven();
        group.RunUntilLed().Group.TransferLeadership(hurt.Id);
        group.RunUntil(() => group.Leader == hurt, "it leads");
        group.Publish(3);
        group.RunUntilEven();
    }

    /// <summary>Entries of an old leader, of which the last lie in a sealed segment whose file is gone.</summary>
    private static void AppendUnreadableEnd(TestReplica replica)
    {
        string end;
        using (var log = GroupLog.Open(
            replica.Device,
            TestReplica.Folder,
            new GroupId(1),
            LogFixture.StoreId,
            LogFixture.SmallOptions(),
            NullLogger.Instance,
            isKnown: true))
        {
            var term = log.TermRuns[^1].Term.Value;
            for (var count = log.SealedSegments.Count; log.SealedSegments.Count < count + 2;)
            {
                var next = log.LastIndex.Next().Value;
                log.Write(LogFixture.AppendRange(next, next, term, bodyBytes: 500));
            }

            var last = log.SealedSegments[^1];
            log.Write(new LogWrite { TruncateFrom = last.Last.Next() });
            end = $"{last.First.Value:D20}.log";
        }

        replica.Device.Delete(replica.PathOf(end));
        replica.Device.SyncFolder(TestReplica.Folder);
    }

    /// <summary>Three replicas, of which one has met damage in its log, and cannot apply what follows.</summary>
    private static TestGroup WithBlocked(out TestReplica blocked)
    {
        var group = new TestGroup(3);
        group.Publish(100);
        group.RunUntilEven();
        var hurt = blocked = group.Replicas.First(replica => replica != group.Leader);
        hurt.Stop();
        var segment = hurt.Files(".log").ElementAt(1);
        foreach (var snapshot in hurt.Files(".snap").ToList())
        {
            hurt.Device.Delete(hurt.PathOf(snapshot));
        }

        hurt.Device.Flip(hurt.PathOf(segment), 4096 + 700, 0x40);
        hurt.Start();
        group.RunUntil(() => hurt.Status.Condition.IsApplyBlocked, "the replay has met the damage");
        return group;
    }

    /// <summary>Three replicas, of which the one that leads cannot read a part of its log.</summary>
    private static TestGroup LedByDamaged(out TestReplica leader)
    {
        var group = new TestGroup(3);
        group.Publish(100);
        group.RunUntilEven();
        var hurt = leader = group.Replicas.Last(replica => replica != group.Leader);
        hurt.Stop();
        hurt.Device.Flip(hurt.PathOf(hurt.Files(".log").ElementAt(1)), 4096 + 80, 0x40);
        hurt.Start();
        group.RunUntilEven();
        hurt.Scrub();
        group.Leader!.Group.TransferLeadership(hurt.Id);
        group.RunUntil(() => group.Leader == hurt, "it leads");
        return group;
    }

    private static void Mend(TestGroup group, TestReplica hurt)
    {
        var damaged = hurt.Log.SealedSegments.Single(each => each.IsDamaged);
        var entries = new List<LogEntry>();
        group.Leader!.Group.ReadEntries(damaged.First, damaged.Last, int.MaxValue, entries);
        hurt.Log.ReplaceSegment(damaged.First, entries);
    }

    private static bool IsVoterForAll(TestGroup group, NodeId node) => group.Replicas
        .Where(replica => replica.IsUp)
        .All(replica => replica.Status.Condition.Configuration.IsVoter(node));

    private static void Lose(TestReplica replica, bool isUp = true)
    {
        if (isUp)
        {
            replica.Kill();
        }

        foreach (var name in replica.Device.List(TestReplica.Folder))
        {
            replica.Device.Delete(replica.PathOf(name));
        }

        replica.Device.SyncFolder(TestReplica.Folder);
        replica.Start();
    }
}
