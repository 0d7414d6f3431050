using Broker.Domain;
using Broker.Groups;
using Broker.Tests.Unit.Topics;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Groups;

public sealed class GroupSnapshotTests
{
    private static readonly GroupBounds Bounds = new() { Groups = 3, RangesPerTopic = 6, Size = 40 };

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void A_replica_that_goes_on_from_any_snapshot_is_as_one_that_applied_everything(int seed)
    {
        var straight = new GroupMachine(Bounds);
        var random = new Random(seed);
        var log = new List<LogEntry>();
        var snapshots = new List<byte[]> { straight.Snapshot };
        var codes = new HashSet<RefusalCode>();
        for (var i = 0; i < 400; i++)
        {
            var entry = straight.Entry(Command(random, straight));
            log.Add(entry);
            codes.Add(straight.Apply(entry).Code);
            snapshots.Add(straight.Snapshot);
        }

        Assert.Superset(
            new HashSet<RefusalCode>
            {
                RefusalCode.None,
                RefusalCode.NotFound,
                RefusalCode.FailedPrecondition,
                RefusalCode.ResourceExhausted,
            },
            codes);
        for (var taken = 0; taken < snapshots.Count; taken += 7)
        {
            var after = new GroupMachine(Bounds);
            after.Machine.Restore(snapshots[taken]);
            Assert.Equal(snapshots[taken], after.Snapshot);
            log[taken..].ForEach(entry => after.Apply(entry));
            Assert.Equal(straight.Machine.StateHash, after.Machine.StateHash);
            Assert.Equal(straight.Snapshot, after.Snapshot);
        }
    }

    [Fact]
    public void Every_flipped_bit_and_every_cut_is_refused_or_is_another_state()
    {
        var machine = new GroupMachine(Bounds);
        var random = new Random(7);
        for (var i = 0; i < 150; i++)
        {
            machine.Apply(machine.Entry(Command(random, machine)));
        }

        var snapshot = machine.Snapshot;
        var other = new GroupMachine(Bounds);
        for (var length = 1; length < snapshot.Length; length++)
        {
            Assert.Throws<InvalidDataException>(() => other.Machine.Restore(snapshot.AsSpan(0, length)));
        }

        for (var bit = 0; bit < snapshot.Length * 8; bit++)
        {
            snapshot[bit / 8] ^= (byte)(1 << (bit % 8));
            try
            {
                other.Machine.Restore(snapshot);
                Assert.Equal(snapshot, other.Snapshot);
            }
            catch (InvalidDataException)
            {
                // Most are refused.
            }

            snapshot[bit / 8] ^= (byte)(1 << (bit % 8));
        }
    }

    [Fact]
    public void A_snapshot_of_before_there_were_groups_is_read()
    {
        var before = new TopicStateMachine(new NoSink());
        before.Apply(new Entries().Publish("a", 2), []);
        var into = new System.Buffers.ArrayBufferWriter<byte>();
        before.WriteSnapshot(into);
        var machine = new GroupMachine();
        machine.Open(1);
        machine.Machine.Restore(into.WrittenSpan);
        Assert.Empty(machine.Progress.Groups);
        Assert.True(machine.Machine.TryGetTopic("a", out _));
    }

    private static byte[] Command(Random random, GroupMachine machine)
    {
        var group = random.Next(1, 5);
        var number = random.Next(machine.Progress.Topics.NextNumber + 1);
        var topic = machine.Progress.Topics.Find(number);
        var next = (int)(topic?.Parts.Memory.NextOffset ?? 4);
        OffsetRange Range()
        {
            var first = random.Next(next);
            return new OffsetRange(first, random.Next(first + 1, Math.Min(next, first + 4) + 1));
        }

        switch (random.Next(16))
        {
            case 0 or 1 or 2:
                return Entries.PublishCommand($"t{random.Next(4)}", Entries.Batch(3), 3);
            case 3 when random.Next(4) == 0:
                return Entries.Metadata(into => TopicCommands.WriteDeleteTopic(into, $"t{random.Next(4)}"));
            case 4:
                var before = machine.Progress.Topics.NextNumber;
                return Entries.Metadata(into => GroupCommands.WriteOpen(
                    into,
                    new OpenGroupCommand(
                        group,
                        random.Next(4) == 0 ? random.Next(before + 1) : 0,
                        random.Next(2) == 0 ? before : random.Next(before + 1),
                        before,
                        topic is null ? [] : [new TopicStart(number, random.Next(next + 1))])));
            case 5 when random.Next(3) == 0:
                return Entries.Metadata(into => GroupCommands.WriteClose(into, group));
            case 6 when random.Next(2) == 0:
                return Entries.Metadata(into => GroupCommands.WriteSeek(into, group, number, random.Next(next + 2)));
            case 7:
                return Entries.Metadata(into => GroupCommands.WriteForget(into, [number, random.Next(9)]));
            case 8 or 9 when next > 0:
                return Entries.Metadata(into => GroupCommands.WriteBury(
                    into, group, number, random.Next(2), random.Next(next), random.Next(9), Entries.Batch(1)));
            default:
                return next == 0
                    ? Entries.PublishCommand("t0", Entries.Batch(1))
                    : Entries.Metadata(into => GroupCommands.WriteSettle(into, new SettleCommand(
                        group,
                        number,
                        random.Next(2) * random.Next(2),
                        [.. Enumerable.Range(0, random.Next(3)).Select(_ => Range())],
                        [.. Enumerable.Range(0, random.Next(3)).Select(_ => new DeliveryCount(
                            random.Next(next), new Tried(random.Next(1, 4), random.Next(2) * 500)))])));
        }
    }
}
