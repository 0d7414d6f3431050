using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Replication;

/// <summary>Snapshots and index files: written at seals, used at starts, sent to who is too far behind.</summary>
public sealed class SnapshotTests
{
    [Fact]
    public async Task A_restart_applies_only_what_follows_the_newest_snapshot_and_reads_everything()
    {
        var group = new TestGroup(1);
        var batches = group.Publish(300);
        group.RunUntilEven();
        var before = group[1].Machine;
        Assert.NotEmpty(group[1].Files(".snap"));
        Assert.Equal(group[1].Log.SealedSegments.Count, group[1].Files(".idx").Count());

        group[1].Restart();
        group.RunUntilEven();
        Assert.Equal(before.StateHash, group[1].Machine.StateHash);
        Assert.Equal(1, group[1].Machine.Restored);
        Assert.InRange(group[1].Machine.Applied, 1, 150);
        Assert.Equal(batches, await group[1].ReadAllAsync(TestGroup.Topic));
    }

    [Fact]
    public async Task A_damaged_index_file_is_written_anew_by_a_replay_that_passes_it()
    {
        var group = new TestGroup(1);
        var batches = group.Publish(300);
        group.RunUntilEven();
        var file = group[1].PathOf(group[1].Files(".idx").ElementAt(1));
        group[1].Stop();
        group[1].Device.Flip(file, 4096 + 50, 0x10);
        group[1].Start();
        group.RunUntilEven();
        group.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(batches, await group[1].ReadAllAsync(TestGroup.Topic));

        group[1].Restart();
        group.RunUntilEven();
        Assert.InRange(group[1].Machine.Applied, 1, 150);
        Assert.Equal(batches, await group[1].ReadAllAsync(TestGroup.Topic));
    }

    [Fact]
    public async Task An_index_file_that_rots_is_made_anew_while_the_group_goes_on()
    {
        var group = new TestGroup(1);
        var batches = group.Publish(300);
        group.RunUntilEven();
        group[1].Restart();
        group.RunUntilEven();
        var file = group[1].PathOf(group[1].Files(".idx").ElementAt(5));
        group[1].Device.Flip(file, group[1].Device.Length(file) - 3_000, 0x10);
        await Assert.ThrowsAsync<BrokerException>(() => group[1].ReadAllAsync(TestGroup.Topic));
        group.Run(TimeSpan.FromSeconds(3));
        Assert.Equal(batches, await group[1].ReadAllAsync(TestGroup.Topic));
        Assert.True(group[1].Status.Condition.IsWell);
    }

    [Fact]
    public async Task Without_a_good_snapshot_the_whole_log_gives_the_same_state()
    {
        var group = new TestGroup(1);
        var batches = group.Publish(300);
        group.RunUntilEven();
        var hash = group[1].Machine.StateHash;
        var snapshots = group[1].Files(".snap").ToList();
        group[1].Stop();
        foreach (var snapshot in snapshots)
        {
            group[1].Device.Flip(group[1].PathOf(snapshot), 5000, 0x01);
        }

        group[1].Start();
        group.RunUntilEven();
        Assert.Equal(0, group[1].Machine.Restored);
        Assert.Equal(hash, group[1].Machine.StateHash);
        Assert.Equal(batches, await group[1].ReadAllAsync(TestGroup.Topic));
    }

    /// <summary>The seal after it would have none for long, as its log is short.</summary>
    [Fact]
    public void A_snapshot_that_a_scrub_finds_damaged_stands_for_nothing_and_the_next_seal_gets_one()
    {
        var group = new TestGroup(1);
        group.Publish(300);
        group.RunUntilEven();
        var newest = group[1].Status.Condition.SnapshotIndex;
        var file = group[1].Files(".snap").Last();
        group[1].Device.Flip(group[1].PathOf(file), 5_000, 0x01);
        group[1].Scrub();
        group.Run(TimeSpan.FromSeconds(2));
        Assert.Equal([file + ".bad"], group[1].Files(".bad"));
        Assert.True(group[1].Status.Condition.SnapshotIndex < newest, "it stands for nothing");
        var sealedThrough = group[1].Log.SealedThrough;
        group.RunUntil(
            () =>
            {
                group.Publish(1);
                return group[1].Log.SealedThrough > sealedThrough;
            },
            "a segment is sealed");
        group.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(group[1].Log.SealedThrough, group[1].Status.Condition.SnapshotIndex);
    }

    [Fact]
    public async Task Index_files_that_could_not_be_written_are_written_at_the_next_seal()
    {
        var group = new TestGroup(1);
        group[1].Device.Fault = (_, path) => path.Contains(".idx", StringComparison.Ordinal)
            ? Simulation.SimulatedDeviceFault.DiskFull
            : Simulation.SimulatedDeviceFault.None;
        var batches = group.Publish(150);
        Assert.Empty(group[1].Files(".idx"));
        group[1].Device.Fault = null;
        batches.AddRange(group.Publish(100));
        group.RunUntilEven();
        Assert.Equal(group[1].Log.SealedSegments.Count, group[1].Files(".idx").Count());
        Assert.Equal(batches, await group[1].ReadAllAsync(TestGroup.Topic));
    }

    [Fact]
    public void A_purge_drops_segments_their_index_files_and_older_snapshots_on_every_replica()
    {
        var group = new TestGroup(3);
        group.Publish(300);
        group.RunUntilEven();
        var segments = group.Replicas.Select(replica => replica.Files(".log").Count()).ToList();
        group.Purge();
        group.Publish(100);
        group.RunUntilEven();
        group.Run(TimeSpan.FromSeconds(5));
        foreach (var replica in group.Replicas)
        {
            var first = replica.Log.FirstIndex;
            Assert.True(first > new LogIndex(200), $"the log begins at {first}");
            Assert.Equal(first.Previous(), replica.Status.Condition.BaseIndex);
            Assert.True(replica.Files(".log").Count() < segments[replica.Id.Value - 1] + 5, "files are gone");
            Assert.All(replica.Files(".log"), name => Assert.True(NumberIn(name) >= first.Value));
            Assert.All(replica.Files(".idx"), name => Assert.True(NumberIn(name) >= first.Value));
            Assert.All(replica.Files(".snap"), name => Assert.True(NumberIn(name) >= first.Value - 1));
        }
    }

    /// <summary>The next write waits for the files to go: seven hundred of them took more than a second.</summary>
    [Fact]
    public void A_long_log_is_dropped_piece_by_piece()
    {
        var group = new TestGroup(1);
        group.Publish(5_000);
        group.RunUntilEven();
        var replica = group[1];
        var segments = replica.Files(".log").Count();
        Assert.True(segments > 3 * Limits.SegmentsDroppedAtOnce, $"there are {segments} segments");
        group.Purge();
        var dropped = new List<int>();
        group.RunUntil(
            () =>
            {
                var now = replica.Files(".log").Count();
                if (now < segments)
                {
                    dropped.Add(segments - now);
                    segments = now;
                }

                return now < 10;
            },
            "nothing but the end of the log is left");
        Assert.True(dropped.Count > 3, $"it was dropped in {dropped.Count} pieces");

        // A snapshot is not taken at the end of every segment: the next one may lie a few further on.
        Assert.All(dropped, each => Assert.InRange(each, 1, Limits.SegmentsDroppedAtOnce));
    }

    [Fact]
    public async Task A_log_whose_snapshot_is_damaged_is_dropped_through_another_one()
    {
        var group = new TestGroup(3);
        group.Publish(300);
        group.RunUntilEven();
        var leader = group.RunUntilLed();
        group.Purge();
        group.Run(TimeSpan.FromMilliseconds(50));
        Assert.Equal(LogIndex.None, leader.Log.Base.Index);
        foreach (var name in leader.Files(".snap").ToList())
        {
            leader.Device.Flip(leader.PathOf(name), 4096 + 5, 0x01);
        }

        group.Run(TimeSpan.FromSeconds(5));
        Assert.Equal(LogIndex.None, leader.Log.Base.Index);
        Assert.Equal(LogIndex.None, leader.Status.Condition.BaseIndex);

        // It still helps a follower that is behind, with all of its log.
        var away = group.Replicas.First(replica => replica != leader);
        away.Stop();
        away.Device.Delete(away.PathOf("vote"));
        away.Device.SyncFolder(TestReplica.Folder);
        away.Start();
        group.Publish(300);
        group.Purge();
        var batches = group.Publish(40);
        group.RunUntil(() => leader.Log.FirstIndex > new LogIndex(400), "the log is dropped through a later snapshot");
        Assert.Equal(leader.Log.Base.Index, leader.Status.Condition.BaseIndex);
        group.RunUntilEven();
        Assert.Equal(batches, await away.ReadAllAsync(TestGroup.Topic));
    }

    [Fact]
    public async Task After_a_purge_a_restart_goes_on_from_the_snapshot_at_the_base()
    {
        var group = new TestGroup(1);
        group.Publish(300);
        group.Purge();
        var batches = group.Publish(100);
        group.Run(TimeSpan.FromSeconds(5));
        Assert.True(group[1].Log.FirstIndex > new LogIndex(200), "the log was dropped");
        var hash = group[1].Machine.StateHash;
        group[1].Restart();
        group.RunUntilEven();
        Assert.Equal(hash, group[1].Machine.StateHash);
        Assert.Equal(batches, await group[1].ReadAllAsync(TestGroup.Topic));
    }

    [Fact]
    public async Task A_follower_behind_the_leaders_base_gets_the_snapshot_and_then_entries()
    {
        var group = new TestGroup(3);
        group.Publish(10);
        group.RunUntilEven();
        var away = group.Replicas.First(replica => replica != group.Leader);
        away.Stop();
        group.Publish(300);
        group.Purge();
        var batches = group.Publish(100);
        group.RunUntil(() => group.Leader!.Log.FirstIndex > new LogIndex(200), "the leader's log was dropped");

        away.Start();
        group.RunUntilEven();
        Assert.Equal(1, group.Replicas.Sum(replica => replica.SnapshotsSent));
        Assert.Equal(1, away.Machine.Restored);
        Assert.Equal(batches, await away.ReadAllAsync(TestGroup.Topic));

        away.Restart();
        group.RunUntilEven();
        Assert.Equal(batches, await away.ReadAllAsync(TestGroup.Topic));
    }

    [Fact]
    public void An_interrupted_transfer_of_a_snapshot_begins_again()
    {
        var group = new TestGroup(3);
        group.Publish(10);
        var away = group.Replicas.First(replica => replica != group.RunUntilLed());
        away.Stop();
        group.Publish(300);
        group.Purge();
        group.Publish(100);
        group.RunUntil(() => group.Leader!.Log.FirstIndex > new LogIndex(200), "the leader's log was dropped");
        var leader = group.Leader!;
        away.Start();
        group.RunUntil(() => leader.SnapshotsSent == 1, "the snapshot is on its way");
        away.Kill();
        group.Step();
        away.Start();
        group.RunUntilEven();
        Assert.Equal(2, leader.SnapshotsSent);
    }

    [Fact]
    public void Time_does_not_go_back_after_a_snapshot_though_the_clock_does()
    {
        var group = new TestGroup(1);
        group.Publish(300);
        group.Purge();
        group.Publish(100);
        group.Run(TimeSpan.FromSeconds(5));
        var before = group[1].Machine.LastTimestampUnixMs;
        group[1].Stop();
        group.Time.Skew = TimeSpan.FromMinutes(-1);
        group[1].Start();
        group.Publish(1);
        Assert.True(group[1].Machine.LastTimestampUnixMs >= before, "times rise along the log");
    }

    private static long NumberIn(string name) => long.Parse(name.AsSpan(0, name.IndexOf('.')));
}
