using System.Buffers;
using Broker.Domain;
using Broker.Replication;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Topics;

/// <summary>
/// The schedule of a shard: what is delayed, what becomes due, what goes. An entry is 10 ms later than the one before.
/// </summary>
public sealed class DelayTests
{
    private const long Later = 1_000_000;

    private readonly Entries _entries = new();
    private readonly TopicStateMachine _machine = new(new NoSink(), new TopicBounds { Delayed = 5 });

    private readonly List<LogEntry> _log = [];

    private DelayTable Table => _machine.Module<TopicModule>().Delays;

    [Fact]
    public void Commands_have_the_documented_bytes()
    {
        Assert.Equal(
            "2C000000" + "15" + "FFFFFFFF" + "FFFFFFFFFFFFFFFF" + "0161" + "0000000000000000" + "00000000"
            + "0000000000000000" + "01000000" + "0A0328E807",
            Convert.ToHexString(Command("a", 1_000)));
        Assert.Equal(
            "11000000" + "17" + "03000000" + "0A0A12080700000000000000",
            Convert.ToHexString(Entries.Metadata(static into => DelayCommands.WriteDue(into, 3, [7]))));
        Assert.Equal(
            "15000000" + "18" + "03000000" + "0700000000000000" + "0900000000000000",
            Convert.ToHexString(Entries.Metadata(static into => DelayCommands.WriteCancel(into, 3, [7, 9]))));
    }

    [Fact]
    public void What_is_not_due_when_it_is_stored_becomes_due_once_in_the_order_of_its_times()
    {
        var stored = _entries.Of(Command("a", 0, 1_010, 1_011, 5, 1_005, long.MaxValue));
        Assert.Equal(1_010, stored.TimestampUnixMs);
        Assert.Equal((0L, 6), Stored(Entries.Apply(_machine, stored)));
        Assert.Equal([(2L, 1_011L), (5, long.MaxValue)], Rows(0));
        Assert.Equal(1_011, _machine.NextDutyUnixMs);
        Assert.Null(Duty(1_010));
        var duty = Duty(1_011);
        Assert.Null(Duty(1_011));
        var due = Apply(duty!);
        Assert.Equal((RefusalCode.None, 0L, 1), (due.Code, due.BaseOffset, due.Count));
        Assert.Equal([2L], References("$due a"));

        // Another leader has said it, too.
        Assert.Equal(RefusalCode.NotFound, Apply(duty!).Code);
        Assert.Equal([2L], References("$due a"));
        Assert.Equal(long.MaxValue, _machine.NextDutyUnixMs);
        Apply(Command("a", Later + 1, Later, Later + 2));
        Apply(Duty(Later + 1)!, advance: Later);
        Assert.Equal([2L, 7, 6], References("$due a"));
        Assert.Equal([(5L, long.MaxValue), (8, Later + 2)], Rows(0));
    }

    [Fact]
    public void Nothing_is_due_before_its_time_by_the_log_nor_a_part_of_what_is_named()
    {
        Apply(Command("a", Later, 2_000, 2_001));
        Assert.Equal(RefusalCode.NotFound, Apply(Due(0, 1)).Code);
        Assert.Equal(RefusalCode.NotFound, Apply(Due(0, 0, 1), advance: 2_000).Code);
        Assert.Equal(RefusalCode.NotFound, Apply(Due(1, 1)).Code);
        Assert.Equal(3, Table.Count);
        Assert.Equal(1, Apply(Cancel(0, 2, 7)).Count);
        Assert.Equal(RefusalCode.NotFound, Apply(Due(0, 1, 2)).Code);
        Assert.Equal(RefusalCode.None, Apply(Due(0, 1)).Code);
        Assert.Equal([1L], References("$due a"));
        Assert.Equal(0, Apply(Cancel(0, 1, 2)).Count);
    }

    [Fact]
    public void More_than_the_bound_is_refused_as_a_whole_and_a_repetition_is_not()
    {
        var stamp = new PublishStamp(7, 0, 0);
        Assert.Equal((0L, 4), Stored(Apply(Command("a", stamp, Later, Later, Later, Later))));
        Assert.Equal(RefusalCode.TooManyDelayed, Apply(Command("b", Later, 0, Later)).Code);
        Assert.False(_machine.TryGetTopic("b", out _));
        Assert.True(Apply(Command("a", stamp, Later, Later, Later, Later)).Duplicate);
        var both = Apply(Entries.Atomic(Command("a", Later), Command("b", Later)));
        Assert.Equal((RefusalCode.TooManyDelayed, 1), (both.Code, both.Part));
        Assert.Equal(4, Table.Count);
        Assert.Equal(RefusalCode.None, Apply(Entries.Atomic(Command("a", Later), Command("b", 0, 0))).Code);
        Assert.Equal(5, Table.Count);
        Assert.Equal(RefusalCode.None, Apply(Entries.PublishCommand("a", Entries.Batch(1))).Code);
        Assert.Equal(RefusalCode.TooManyDelayed, Apply(Command("a", Later)).Code);
        Apply(Cancel(0, 1));
        Assert.Equal(RefusalCode.None, Apply(Command("a", Later)).Code);
    }

    [Fact]
    public void A_purge_takes_rows_and_references_of_what_is_gone_and_a_deletion_all_of_them()
    {
        Apply(Command("a", 1_020, Later, 1_020, Later));
        Apply(Command("b", Later));
        Apply(Duty(1_020)!);
        Assert.Equal([0L, 2], References("$due a"));
        Apply(Entries.PurgeCommand("a", 2));
        Assert.Equal([(3L, Later)], Rows(0));
        Assert.Equal([0L, 2], References("$due a"));

        // When the topic keeps nothing of the time when the references were stored, they go.
        Apply(Entries.PublishCommand("a", Entries.Batch(2), 2));
        Apply(Entries.PurgeCommand("a", 5));
        Assert.Empty(Rows(0));
        Assert.Empty(References("$due a"));
        Assert.Equal(1, Table.Count);
        Apply(Command("a", 1_120));
        Apply(Duty(1_120)!, advance: 100);
        Assert.Equal([6L], References("$due a"));
        Apply(Entries.Metadata(static into => TopicCommands.WriteDeleteTopic(into, "a")));
        Assert.False(_machine.TryGetTopic("$due a", out _));
        Assert.Equal(["b"], _machine.ListPlaces().Select(static place => place.Name));
        Apply(Command("a", Later));
        Assert.Equal([(0L, Later)], Rows(3));
    }

    [Fact]
    public void A_shard_without_delays_has_no_section_of_them_and_one_with_them_has_the_documented_bytes()
    {
        Apply(Entries.PublishCommand("a", Entries.Batch(1)));
        var before = Snapshot(_machine);
        Apply(Entries.PublishCommand("x", Entries.Batch(1)));
        Apply(Command("d", 0, Later, 1_050));
        var snapshot = Snapshot(_machine);
        Assert.EndsWith("04" + "01" + "01" + "02" + "00" + "00" + "00" + "02" + "01C0843D" + "009A08", snapshot);
        Apply(Duty(1_050)!, advance: 20);
        var after = Snapshot(_machine);
        Assert.EndsWith("04" + "01" + "01" + "02" + "04" + "01" + "03" + "01" + "01C0843D", after);
        foreach (var each in new[] { snapshot, after, before })
        {
            _machine.Restore(Convert.FromHexString(each));
            Assert.Equal(each, Snapshot(_machine));
        }

        Assert.True(Table.IsEmpty);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void A_replica_that_goes_on_from_any_snapshot_has_the_same_schedule(int seed)
    {
        var log = new RandomLog(seed).Take(600);
        var straight = RandomLog.NewMachine();
        var (snapshots, delayed, due) = (new List<string>(), 0, 0);
        foreach (var entry in log)
        {
            straight.Apply(entry, []);
            snapshots.Add(Snapshot(straight));
            var table = straight.Module<TopicModule>().Delays;
            delayed += table.Count > 0 ? 1 : 0;
            due += straight.ListPlaces().Count(static place => DueTopic.IsOne(place.Name));
        }

        Assert.True(delayed > 50 && due > 5, $"the log has delays: {delayed}, {due}");
        for (var taken = 0; taken < snapshots.Count; taken += 23)
        {
            var machine = RandomLog.NewMachine();
            machine.Restore(Convert.FromHexString(snapshots[taken]));
            foreach (var (at, entry) in log.Index().Skip(taken + 1))
            {
                machine.Apply(entry, []);
                Assert.True(at % 40 != 0 || Snapshot(machine) == snapshots[at]);
            }

            Assert.Equal(snapshots[^1], Snapshot(machine));
        }
    }

    [Fact]
    public void A_malformed_schedule_is_refused()
    {
        Apply(Command("a", Later, Later));
        var whole = Convert.FromHexString(Snapshot(_machine));
        for (var length = whole.Length - 12; length < whole.Length; length++)
        {
            Assert.Throws<InvalidDataException>(() => _machine.Restore(whole.AsSpan(0, length)));
        }

        whole[^15]++; // The format.
        Assert.Throws<InvalidDataException>(() => _machine.Restore(whole));
        Assert.Equal(2, Table.Count);
    }

    private static (long BaseOffset, int Count) Stored(in CommandResult result)
    {
        Assert.Equal(RefusalCode.None, result.Code);
        return (result.BaseOffset, result.Count);
    }

    private static byte[] Command(string topic, params long[] dueMs) => Command(topic, default, dueMs);

    private static byte[] Command(string topic, PublishStamp stamp, params long[] dueMs) => Entries.PublishCommand(
        topic, Entries.DelayedBatch(dueMs), dueMs.Length, stamp, isDelayed: true);

    private static byte[] Due(int topic, params long[] offsets) =>
        Entries.Metadata(into => DelayCommands.WriteDue(into, topic, offsets));

    private static byte[] Cancel(int topic, params long[] offsets) =>
        Entries.Metadata(into => DelayCommands.WriteCancel(into, topic, offsets));

    private static string Snapshot(TopicStateMachine machine)
    {
        var into = new ArrayBufferWriter<byte>();
        machine.WriteSnapshot(into);
        return Convert.ToHexString(into.WrittenSpan);
    }

    private CommandResult Apply(byte[] command, long advance = 0)
    {
        _entries.Advance(advance);
        _log.Add(_entries.Of(command));
        return Entries.Apply(_machine, _log[^1]);
    }

    private byte[]? Duty(long nowMs)
    {
        var into = new ArrayBufferWriter<byte>();
        return _machine.TryWriteDuty(nowMs, into) ? into.WrittenSpan.ToArray() : null;
    }

    private List<(long Offset, long DueMs)> Rows(int topic) =>
        [.. Table.List(topic, 0, int.MaxValue).Select(static row => (row.Offset, row.DueUnixMs))];

    private List<long> References(string place)
    {
        Assert.True(_machine.TryGetTopic(place, out var view));
        var (batches, found) = (new List<BatchLocation>(), new List<long>());
        view.TryLocate(view.FirstOffset, view.NextOffset, int.MaxValue, batches, out _);
        foreach (var batch in batches)
        {
            var entry = _log.Single(each => each.Index == batch.LogIndex);
            var rest = entry.Body.Span.Slice(batch.Position, batch.Length);
            Assert.Equal(batch.Count, RecordBatchScanner.Scan(rest).Count);
            while (!rest.IsEmpty)
            {
                found.Add(DueTopic.TakeReference(ref rest));
            }
        }

        return found;
    }
}
