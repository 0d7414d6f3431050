using System.Buffers;
using Broker.Domain;
using Broker.Replication;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Topics;

public sealed class TopicSnapshotTests
{
    [Fact]
    public void A_snapshot_has_the_documented_bytes()
    {
        var entries = new Entries();
        var machine = new TopicStateMachine(new NoSink());
        machine.Apply(entries.Publish("a", 2), []);
        machine.Apply(entries.Publish("a", id: 7, epoch: 1, sequence: 3), []);
        machine.Apply(entries.Purge("a", 1), []);
        var hash = Convert.ToHexString(BitConverter.GetBytes(machine.StateHash));
        Assert.Equal(
            "5404" + "03" + "8608" + hash + "01" + "0104" + "01" + "01" + "00" + "0161" + "000000808040000080B8992900"
            + "03" + "02" + "FC07"
            + "01" + "0700000000000000" + "01" + "03" + "00" + "01" + "01" + "02" + "FC07" + "00" + "0000",
            Convert.ToHexString(Snapshot(machine)));
    }

    [Fact]
    public void The_documented_example_is_read_and_written_again()
    {
        const string Moment = "05" + "E807" + "0100000000000000";
        const string Settings = "000000808040" + "000080B89929" + "00";
        var bytes = Convert.FromHexString(
            "5404" + Moment + "01" + "0104" + "04" + "01" + "03" + "0161" + Settings + "070584070000" + "0000");
        Assert.Equal(bytes, Snapshot(Restored(Convert.FromHexString(
            "5404" + Moment + "01" + "0103" + "04" + "01" + "03" + "0161" + "00000080804000" + "070584070000"))));
        Assert.Equal(bytes, Snapshot(Restored(Convert.FromHexString(
            "5404" + Moment + "01" + "0102" + "04" + "01" + "03" + "0161" + "00000080804000" + "0705840700"))));
        Assert.Equal(
            Convert.FromHexString(
                "5404" + Moment + "01" + "0104" + "01" + "01" + "00" + "0161" + Settings + "070584070000" + "0000"),
            Snapshot(Restored(Convert.FromHexString("5401" + Moment + "01" + "0161" + "0705840700"))));
        var machine = Restored(bytes);
        Assert.True(machine.TryGetTopic("a", out var topic));
        Assert.Equal((2L, 7L, 900L), (topic.FirstOffset, topic.NextOffset, topic.LastTimestampUnixMs));
        Assert.Equal((1UL, 1), (machine.StateHash, machine.TopicCount));
        Assert.Equal(bytes, Snapshot(machine));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void A_replica_that_goes_on_from_any_snapshot_is_as_one_that_applied_everything(int seed)
    {
        var log = new RandomLog(seed).Take(220);
        var straight = RandomLog.NewMachine();
        var answers = log.Select(entry => ApplyAll(straight, entry)).ToList();
        var kept = Describe(straight, LogIndex.None);
        Assert.Contains(answers.SelectMany(each => each), each => each is { Duplicate: true, BaseOffset: >= 0 });
        Assert.Contains(answers.SelectMany(each => each), each => each.Code == RefusalCode.OutOfSequence);
        Assert.Contains(answers.SelectMany(each => each), each => each.Code == RefusalCode.ProducerFenced);

        var before = RandomLog.NewMachine();
        for (var taken = 0; taken <= log.Count; taken++)
        {
            var snapshot = Snapshot(before);
            var after = Restored(snapshot);
            Assert.Equal(snapshot, Snapshot(after));
            for (var i = taken; i < log.Count; i++)
            {
                Assert.Equal(answers[i], ApplyAll(after, log[i]));
            }

            Assert.Equal(straight.StateHash, after.StateHash);
            Assert.Equal(Snapshot(straight), Snapshot(after));

            // Where batches are that came before the snapshot, index files say: here are none.
            var through = taken == 0 ? LogIndex.None : log[taken - 1].Index;
            Assert.Equal(kept.Where(each => each.Location.LogIndex > through), Describe(after, through));
            if (taken < log.Count)
            {
                ApplyAll(before, log[taken]);
            }
        }
    }

    [Fact]
    public void A_repetition_after_a_restart_gets_its_first_answer()
    {
        var entries = new Entries();
        var machine = new TopicStateMachine(new NoSink());
        var first = Enumerable.Range(0, 20)
            .Select(i => Entries.Apply(machine, entries.Publish("a", 2, id: 1, sequence: (ulong)i * 2)))
            .ToList();
        Entries.Apply(machine, entries.Purge("a"));
        machine = Restored(Snapshot(machine), machine);
        for (var i = 4; i < 20; i++)
        {
            var again = Entries.Apply(machine, entries.Publish("a", 2, id: 1, sequence: (ulong)i * 2));
            Assert.Equal(first[i] with { Duplicate = true }, again);
        }

        Assert.Equal(-1, Entries.Apply(machine, entries.Publish("a", 2, id: 1, sequence: 6)).BaseOffset);
        Assert.Equal(40, Entries.Apply(machine, entries.Publish("a", 2, id: 1, sequence: 40)).BaseOffset);
    }

    [Fact]
    public void An_empty_snapshot_is_the_initial_state()
    {
        var machine = RandomLog.NewMachine();
        new RandomLog(4).Take(20).ForEach(entry => machine.Apply(entry, []));
        machine.Restore([]);
        Assert.Equal(Snapshot(RandomLog.NewMachine()), Snapshot(machine));
        Assert.Equal((0UL, 0), (machine.StateHash, machine.TopicCount));
        Assert.Equal(new LogIndex(long.MaxValue), machine.FirstNeeded);
        machine.Apply(new Entries().Publish("a"), []);
    }

    [Fact]
    public void Every_flipped_bit_and_every_cut_is_refused_or_is_another_state()
    {
        var machine = RandomLog.NewMachine();
        new RandomLog(5).Take(60).ForEach(entry => machine.Apply(entry, []));
        var snapshot = Snapshot(machine);
        for (var length = 1; length < snapshot.Length; length++)
        {
            Assert.Throws<InvalidDataException>(() => Restored(snapshot[..length]));
        }

        Assert.Throws<InvalidDataException>(() => Restored([.. snapshot, 0]));
        var refused = 0;
        for (var bit = 0; bit < snapshot.Length * 8; bit++)
        {
            snapshot[bit / 8] ^= (byte)(1 << (bit % 8));
            refused += IsRefused(snapshot) ? 1 : 0;
            snapshot[bit / 8] ^= (byte)(1 << (bit % 8));
        }

        Assert.InRange(refused, snapshot.Length, snapshot.Length * 8);
    }

    [Fact]
    public void Random_bytes_are_refused_or_are_a_state()
    {
        var machine = RandomLog.NewMachine();
        new RandomLog(6).Take(30).ForEach(entry => machine.Apply(entry, []));
        var snapshot = Snapshot(machine);
        var random = new Random(6);
        for (var round = 0; round < 20_000; round++)
        {
            var bytes = snapshot.AsSpan(0, random.Next(1, snapshot.Length + 1)).ToArray();
            for (var changes = random.Next(1, 5); changes > 0; changes--)
            {
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            }

            IsRefused(bytes);
        }
    }

    [Fact]
    public void A_snapshot_that_is_refused_changes_nothing()
    {
        var machine = RandomLog.NewMachine();
        new RandomLog(7).Take(30).ForEach(entry => machine.Apply(entry, []));
        var before = Snapshot(machine);
        var kept = Describe(machine, LogIndex.None);
        Assert.Throws<InvalidDataException>(() => machine.Restore(before.AsSpan(0, before.Length - 1)));
        Assert.Equal(before, Snapshot(machine));
        Assert.Equal(kept, Describe(machine, LogIndex.None));
    }

    [Theory]
    [InlineData("4D010000000000000000000000")]
    [InlineData("540200000000000000000000")]
    [InlineData("54010000" + "0000000000000000" + "FFFFFFFF07")]
    [InlineData("54010000" + "0000000000000000" + "8000")]
    [InlineData("54010000" + "0000000000000000" + "01" + "01FF" + "01000000")]
    [InlineData("54010000" + "0000000000000000" + "01" + "0161" + "01020000")]
    [InlineData("54010000" + "0000000000000000" + "01" + "0161" + "01000100")]
    [InlineData("54010000" + "0000000000000000" + "02" + "0161" + "01000000" + "0161" + "01000000")]
    [InlineData("5401FFFFFFFFFFFFFFFFFF02")]
    [InlineData("54040000" + "0000000000000000" + "02" + "0102" + "0000" + "0102" + "0000")]
    [InlineData("54040000" + "0000000000000000" + "01" + "0202" + "0000")]
    [InlineData("54040000" + "0000000000000000" + "01" + "0109" + "0000")]
    [InlineData("54040000" + "0000000000000000" + "01" + "0102" + "0000" + "00")]
    [InlineData("54040000" + "0000000000000000" + "01" + "0102" + "010101" + "0161" + "00000080804000" + "00000000")]
    [InlineData("54040000" + "0000000000000000" + "01" + "0102" + "010100" + "0161" + "00000081804000" + "00000000")]
    public void What_cannot_be_is_refused(string hex) =>
        Assert.Throws<InvalidDataException>(() => Restored(Convert.FromHexString(hex)));

    [Fact]
    public void Those_who_wait_for_records_hear_of_a_snapshot()
    {
        var heard = new Heard();
        new TopicStateMachine(heard).Restore([]);
        Assert.Equal(1, heard.Restored);
    }

    private static bool IsRefused(byte[] bytes)
    {
        try
        {
            var again = Snapshot(Restored(bytes));
            if (!again.AsSpan().SequenceEqual(bytes))
            {
                // It was of an older format, which has less.
                Assert.True(again.Length > bytes.Length);
                Assert.Equal(again, Snapshot(Restored(again)));
            }

            return false;
        }
        catch (InvalidDataException)
        {
            return true;
        }
    }

    private static byte[] Snapshot(TopicStateMachine machine)
    {
        var buffer = new ArrayBufferWriter<byte>();
        machine.WriteSnapshot(buffer);
        return buffer.WrittenSpan.ToArray();
    }

    private static TopicStateMachine Restored(byte[] snapshot, TopicStateMachine? into = null)
    {
        var machine = into ?? RandomLog.NewMachine();
        machine.Restore(snapshot);
        return machine;
    }

    private static CommandResult[] ApplyAll(TopicStateMachine machine, LogEntry entry)
    {
        var results = new CommandResult[entry.Count];
        machine.Apply(entry, results);
        return [.. results.SelectMany(
            static each => (CommandResult[])[each with { Parts = null }, .. each.Parts ?? []])];
    }

    private static List<(string Topic, BatchLocation Location)> Describe(TopicStateMachine machine, LogIndex after) =>
    [
        .. from topic in machine.ListTopics()
           from offset in Enumerable.Range((int)topic.FirstOffset, (int)(topic.NextOffset - topic.FirstOffset))
           let location = Located.At(topic, offset)
           where location is { } at && at.LogIndex > after
           select (topic.Name, location.Value),
    ];

    private sealed class Heard : IAppliedBatches
    {
        public bool IsAwaited => false;

        public int Restored { get; private set; }

        public void OnAppended(
            string topic, long baseOffset, int count, long timestampUnixMs, LogEntry entry, int position, int length) =>
            Assert.Fail("Nothing was applied.");

        public void OnThinned(string topic, long baseOffset, int count)
        {
            // Nobody asks for it.
        }

        public void OnTopicChanged(string topic)
        {
            // Nobody waits for it.
        }

        public void OnRestored() => Restored++;
    }
}
