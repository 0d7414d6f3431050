using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Replication;

/// <summary>Mishaps one after the other, drawn by a seed: what was acknowledged and not purged is read by
/// all.</summary>
public sealed class MishapTests
{
    private const int Mishaps = 40;

    public static TheoryData<int> Seeds => [.. Enumerable.Range(1, 6)];

    [Theory]
    [MemberData(nameof(Seeds))]
    public async Task Whatever_befalls_one_replica_at_a_time_all_are_even_and_complete_in_the_end(int seed)
    {
        var random = new Random(seed);
        var group = new TestGroup(3);
        var expected = new List<byte[]>();
        var purged = 0;
        for (var i = 0; i < Mishaps; i++)
        {
            expected.AddRange(group.Publish(random.Next(1, 60), random.Next(50, 900)));
            if (random.Next(6) == 0)
            {
                purged = random.Next(purged, expected.Count);
                group.Purge(purged);
            }

            Befall(group, group.Replicas[random.Next(3)], random, expected);
            foreach (var replica in group.Replicas)
            {
                replica.Scrub();
            }

            group.Run(TimeSpan.FromSeconds(2));
            group.RunUntil(() => IsWhole(group), $"all are well after mishap {i}", seconds: 120);
        }

        group.RunUntilEven();
        group.Run(TimeSpan.FromSeconds(3));
        foreach (var replica in group.Replicas)
        {
            var read = await replica.ReadAllAsync(TestGroup.Topic);
            Assert.Equal(expected.Skip(purged), read);
        }

        Assert.True(group.Replicas.All(replica => replica.Log.FirstIndex.Value > 1) || purged < 100, "space is freed");
    }

    private static void Befall(TestGroup group, TestReplica victim, Random random, List<byte[]> expected)
    {
        switch (random.Next(7))
        {
            case 0:
                victim.Restart();
                break;
            case 1:
                victim.Kill();
                expected.AddRange(group.Publish(random.Next(1, 200)));
                victim.Start();
                break;
            case 2:
                group.Cut(victim);
                expected.AddRange(group.Publish(random.Next(1, 200)));
                group.Heal();
                break;
            case 3:
                LoseAFile(victim, random);
                break;
            case 4:
                FlipAByte(victim, random);
                break;
            case 5:
                LoseAll(victim);
                break;
            default:
                foreach (var replica in group.Replicas)
                {
                    replica.Kill();
                }

                foreach (var replica in group.Replicas)
                {
                    replica.Start();
                }

                break;
        }
    }

    /// <summary>
    /// Damaged segments are mended as the node above would: with a peer's entries. What all peers have dropped nobody
    /// can give, and nobody will ask for much longer; its operator may give such a replica an empty folder.
    /// </summary>
    private static bool IsWhole(TestGroup group)
    {
        foreach (var replica in group.Replicas)
        {
            foreach (var segment in replica.Log.SealedSegments.Where(segment => segment.IsDamaged))
            {
                if (!TryMend(group, replica, segment.First, segment.Last)
                    && group.Replicas.All(peer => peer == replica || peer.Log.FirstIndex > segment.First))
                {
                    LoseAll(replica);
                    return false;
                }
            }
        }

        var voters = group.Voters.ToArray();
        return group.Leader is { } leader && group.Replicas.All(replica =>
            replica.Status.Condition.IsWell
            && replica.Status.Condition.Configuration.Voters.SequenceEqual(voters)
            && replica.Status.AppliedIndex == leader.Status.LastIndex);
    }

    private static bool TryMend(TestGroup group, TestReplica hurt, LogIndex first, LogIndex last)
    {
        foreach (var peer in group.Replicas.Where(peer => peer != hurt && peer.Status.CommitIndex >= last))
        {
            var entries = new List<LogEntry>();
            for (var next = first; next <= last;)
            {
                var count = peer.Group.ReadEntries(next, last, int.MaxValue, entries);
                if (count == 0)
                {
                    break;
                }

                next += count;
            }

            if (entries.Count == last - first + 1)
            {
                hurt.Log.ReplaceSegment(first, entries);
                return true;
            }
        }

        return false;
    }

    private static void LoseAFile(TestReplica victim, Random random)
    {
        victim.Stop();
        var names = victim.Device.List(TestReplica.Folder);
        if (names.Count > 0)
        {
            victim.Device.Delete(victim.PathOf(names[random.Next(names.Count)]));
            victim.Device.SyncFolder(TestReplica.Folder);
        }

        victim.Start();
    }

    private static void FlipAByte(TestReplica victim, Random random)
    {
        victim.Stop();
        var names = victim.Device.List(TestReplica.Folder);
        if (names.Count > 0)
        {
            var path = victim.PathOf(names[random.Next(names.Count)]);
            var length = victim.Device.Length(path);
            if (length > 0)
            {
                victim.Device.Flip(path, random.NextInt64(length), (byte)(1 << random.Next(8)));
            }
        }

        victim.Start();
    }

    private static void LoseAll(TestReplica victim)
    {
        victim.Kill();
        foreach (var name in victim.Device.List(TestReplica.Folder))
        {
            victim.Device.Delete(victim.PathOf(name));
        }

        victim.Device.SyncFolder(TestReplica.Folder);
        victim.Start();
    }
}
