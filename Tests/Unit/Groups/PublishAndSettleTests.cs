using Broker.Domain;
using Broker.Groups;
using Broker.Replication;
using Broker.State;
using Broker.Tests.Unit.Topics;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Groups;

/// <summary>The command that finishes records and stores what was made of them, or does neither.</summary>
public sealed class PublishAndSettleTests
{
    private readonly GroupMachine _shard = new();

    public PublishAndSettleTests()
    {
        _shard.Publish("a", 10);
        _shard.Publish("b", 10);
        _shard.Open(1);
        _shard.Open(2);
    }

    [Fact]
    public void Both_are_done()
    {
        var result = Apply([Settling(1, 0, 0, 2, 5), Settling(2, 1, 0, 0, 1)], [Result("out"), Result("out", 2)]);
        Assert.Equal((RefusalCode.None, false, 3), (result.Code, result.Duplicate, result.Count));
        Assert.Equal([0L, 1], result.Parts!.Select(static part => part.BaseOffset));
        Assert.Equal([new OffsetRange(2, 5)], _shard.Of(1, 0).Settled.Ranges);
        Assert.Equal(1, _shard.Of(2, 1).Settled.Floor);
        Assert.Equal(3, Next("out"));
    }

    [Fact]
    public void Neither_is_done_when_a_record_is_settled_already()
    {
        _shard.Settle(1, 0, 0, new OffsetRange(3, 4));
        var result = Apply([Settling(2, 1, 0, 0, 1), Settling(1, 0, 0, 2, 5)], [Result("out")]);
        Assert.Equal(
            (RefusalCode.LeaseLost, GroupProgressModule.SettlingPart, 0, 3L),
            (result.Code, result.Part, result.Topic, result.BaseOffset));
        Assert.Equal([new OffsetRange(3, 4)], _shard.Of(1, 0).Settled.Ranges);
        Assert.Null(_shard.Of(2, 1));
        Assert.Equal(0, Next("out"));
    }

    [Fact]
    public void Neither_is_done_when_the_group_is_elsewhere_or_gone()
    {
        _shard.Apply(static into => GroupCommands.WriteSeek(into, 1, 0, 0));
        Assert.Equal(RefusalCode.LeaseLost, Apply([Settling(1, 0, 0, 2, 5)], [Result("out")]).Code);
        Assert.Equal(RefusalCode.LeaseLost, Apply([Settling(3, 0, 0, 2, 5)], [Result("out")]).Code);
        Assert.Equal(0, Next("out"));
        Assert.Equal(RefusalCode.None, Apply([Settling(1, 0, 1, 2, 5)], [Result("out")]).Code);
    }

    [Fact]
    public void Neither_is_done_when_a_part_cannot_be_stored()
    {
        var wrong = Entries.PublishCommand("out", Entries.Batch(1), expectedOffset: 5);
        var result = Apply([Settling(1, 0, 0, 2, 5)], [Result("out"), wrong]);
        Assert.Equal((RefusalCode.UnexpectedOffset, 1), (result.Code, result.Part));
        Assert.Null(_shard.Of(1, 0));
        Assert.Equal(0, Next("out"));
    }

    [Fact]
    public void A_repetition_is_answered_as_such_wherever_the_group_is()
    {
        var stamped = Result("out", 1, new PublishStamp(7, 1, 0));
        Assert.False(Apply([Settling(1, 0, 0, 2, 5)], [stamped]).Duplicate);
        var again = Apply([Settling(1, 0, 0, 2, 5)], [stamped]);
        Assert.Equal((RefusalCode.None, true, 0L), (again.Code, again.Duplicate, again.Parts![0].BaseOffset));
        _shard.Apply(static into => GroupCommands.WriteSeek(into, 1, 0, 0));
        Assert.True(Apply([Settling(1, 0, 0, 2, 5)], [stamped]).Duplicate);
        Assert.Empty(_shard.Of(1, 0).Settled.Ranges);

        // One that was stored without them finishes them now.
        Assert.True(Apply([Settling(2, 0, 0, 2, 5)], [stamped]).Duplicate);
        Assert.Equal([new OffsetRange(2, 5)], _shard.Of(2, 0).Settled.Ranges);
        Assert.Equal(1, Next("out"));
    }

    [Fact]
    public void Neither_is_done_when_the_shard_would_remember_too_many_ranges()
    {
        var shard = new GroupMachine(new GroupBounds { RangesPerTopic = 2 });
        shard.Publish("a", 10);
        shard.Open(1);
        var two = new SettleCommand(1, 0, 0, [new OffsetRange(2, 3), new OffsetRange(4, 5)], []);
        var three = two with { Ranges = [.. two.Ranges, new OffsetRange(6, 7)] };
        var refused = Apply(shard, [three], [Result("out")]);
        Assert.Equal(
            (RefusalCode.ResourceExhausted, GroupProgressModule.SettlingPart), (refused.Code, refused.Part));
        Assert.Null(shard.Of(1, 0));
        Assert.Equal(RefusalCode.None, Apply(shard, [two], [Result("out")]).Code);

        // What closes a hole has room always.
        Assert.Equal(RefusalCode.None, Apply(shard, [Settling(1, 0, 0, 3, 4)], [Result("out")]).Code);
        Assert.Equal([new OffsetRange(2, 5)], shard.Of(1, 0).Settled.Ranges);
    }

    [Fact]
    public void A_snapshot_has_what_a_replay_has()
    {
        Apply([Settling(1, 0, 0, 2, 5)], [Result("out"), Result("out")]);
        var restored = new GroupMachine();
        restored.Machine.Restore(_shard.Snapshot);
        Assert.Equal(_shard.Machine.StateHash, restored.Machine.StateHash);
        Assert.Equal(_shard.Snapshot, restored.Snapshot);
    }

    [Fact]
    public void What_is_thinned_settles_and_stores_as_before()
    {
        var folder = new IndexFolder();
        _shard.Machine.AttachIndexes(folder.Read);
        LogEntry[] log =
        [
            _shard.Entry(Command([Settling(1, 0, 0, 2, 5)], [Result("out", 40), Result("kept", 2)])),
            _shard.Entry(Entries.PurgeCommand("out", 30)),
            _shard.Entry(Command([Settling(1, 0, 0, 4, 6)], [Result("kept")])),
            _shard.Entry(Entries.PurgeCommand("out", 40)),
        ];
        var before = _shard.Snapshot;
        Assert.All(log, entry => _shard.Machine.Apply(entry, new CommandResult[1]));
        var (first, last) = (log[0].Index.Value, log[^1].Index.Value);
        folder.Seal(_shard.Machine, first, last);
        var thinner = _shard.Machine.LookForThinning()!.TryBegin(new LogIndex(first), new LogIndex(last))!;
        var thinned = log.Select(thinner.Thin).ToArray();
        Assert.True(thinned[0].Body.Length < log[0].Body.Length);
        Assert.Same(thinned[0], thinner.Thin(thinned[0]));
        var replayed = new GroupMachine();
        replayed.Machine.Restore(before);
        Assert.All(thinned, entry => replayed.Machine.Apply(entry, new CommandResult[1]));
        Assert.Equal(_shard.Machine.StateHash, replayed.Machine.StateHash);
        Assert.Equal([new OffsetRange(2, 5)], replayed.Of(1, 0).Settled.Ranges);
    }

    [Fact]
    public void Its_bytes_are_commands_that_settle_before_those_that_publish()
    {
        var bytes = Command([Settling(2, 1, 0, 5, 7)], [Result("out")]);
        Assert.StartsWith(
            "3B000000" + "3E" + "13000000" + "37" + "02000000" + "01000000" + "00000000" + "0100" + "0502" + "0000",
            Convert.ToHexString(bytes),
            StringComparison.Ordinal);
        foreach (var command in new CommandSequence(bytes))
        {
            var settling = 0;
            foreach (var part in AtomicCommands.Settling(command))
            {
                Assert.Equal(new OffsetRange(5, 7), Assert.Single(GroupCommands.ReadSettle(part).Ranges));
                settling++;
            }

            foreach (var part in AtomicCommands.Parts(command))
            {
                Assert.Equal(Entries.Batch(1), TopicCommands.ReadPublish(part).Batch.ToArray());
                settling++;
            }

            Assert.Equal(2, settling);
        }
    }

    private static SettleCommand Settling(int group, int topic, int turn, long first, long end) =>
        new(group, topic, turn, [new OffsetRange(first, end)], []);

    private static byte[] Result(string topic, int records = 1, PublishStamp stamp = default) =>
        Entries.PublishCommand(topic, Entries.Batch(records), records, stamp);

    private static byte[] Command(SettleCommand[] settles, byte[][] publishes) => Entries.Atomic(
        CommandKind.PublishAndSettle,
        [.. settles.Select(each => Entries.Metadata(into => GroupCommands.WriteSettle(into, each))), .. publishes]);

    private CommandResult Apply(SettleCommand[] settles, byte[][] publishes) => Apply(_shard, settles, publishes);

    private static CommandResult Apply(GroupMachine shard, SettleCommand[] settles, byte[][] publishes) =>
        shard.Apply(shard.Entry(Command(settles, publishes)));

    private long Next(string topic) => _shard.Machine.TryGetTopic(topic, out var view) ? view.NextOffset : 0;
}
